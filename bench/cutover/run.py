"""`navigator-bench cutover`: what each release says alone, then questions without a pause while one takes the other's place."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cutover.ask import Client, Question, Reply, alike, ask_all, make_questions
from bench.latency import percentiles
from navigator.contracts import UserError
from navigator.release.live import promote_release, read_live, roll_back

_PATIENCE_S = 300.0  # for a release to be opened
_EXAMPLES = 5
_WHY = "navigator-bench cutover: a test"
Span = tuple[float, float]


@dataclass(frozen=True)
class Switching:
    """The server, its releases, and the two that take turns.

    Attributes:
        first: the release that is live at the start and at the end.
        other: the one that is promoted.
        shadow: report that lets `other` take the place of `first`; None: by force.
    """

    client: Client
    root: Path
    first: str
    other: str
    shadow: Path | None

    def to(self, name: str) -> Span:
        """Promote or roll back; returns when it was done and when the server answered by it, of time.monotonic()."""
        if name == self.other:
            promote_release(self.root, name, self.shadow, force=None if self.shadow else _WHY)
        else:
            roll_back(self.root, _WHY)
        done = time.monotonic()
        self.wait_for(name)
        return done, time.monotonic()

    def wait_for(self, name: str) -> None:
        """Raises UserError where the server does not come to answer by this release."""
        until = time.monotonic() + _PATIENCE_S
        while (now := self.client.get("/v1/release"))["release"] != name:
            if now.get("cannot_open_since") or time.monotonic() > until:
                raise UserError(
                    f"the server answers by {now['release']} and not by {name}: its log says why it does not follow"
                )
            time.sleep(0.02)


def run_cutover(
    root: Path,
    name: str,
    url: str,
    shadow: Path | None,
    requests: int,
    clients: int,
    times: int,
    questions: int,
    key: str,
) -> dict[str, Any]:
    """See bench.cutover.command."""
    live = read_live(root)
    if live is None or live.name == name:
        raise UserError(f"live in {root} is {live and live.name}; give the name of another release, and have one live")
    with closing(Client(url, key)) as client:
        return _run(Switching(client, root, live.name, name, shadow), url, requests, clients, times, questions, key)


def _run(
    switching: Switching, url: str, requests: int, clients: int, times: int, questions: int, key: str
) -> dict[str, Any]:
    first, name = switching.first, switching.other
    switching.wait_for(first)
    asked = make_questions(switching.client, questions)
    alone = {first: _alone(url, key, asked)}
    switching.to(name)
    alone[name] = _alone(url, key, asked)
    switching.to(first)
    telling = [number for number in range(len(asked)) if not alike(*(own[number].said for own in alone.values()))]
    if not telling:
        raise UserError(
            f"{first} and {name} answer all {len(asked)} questions alike, so that a mixed answer could not be seen; give a "
            "release of other vectors"
        )
    asked = [asked[number] for number in telling]
    alone = {release: [own[number] for number in telling] for release, own in alone.items()}
    ended = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        replies = beside.submit(ask_all, url, key, asked, requests, clients, ended)
        try:
            during = [switching.to(to) for to in (name, first) * times]
        finally:
            ended.set()
    return {"questions": len(asked), "answered_alike": questions - len(asked)} | summary(
        replies.result(), alone, during
    )


def _alone(url: str, key: str, asked: Sequence[Question]) -> list[Reply]:
    """The answers of the release that is live, in the order of the questions, one after the other."""
    with closing(Client(url, key)) as client:
        replies = [client.ask(number, question) for number, question in enumerate(asked)]
    failed = next((reply for reply in replies if reply.failure), None)
    if failed is not None:
        raise UserError(f"{asked[failed.question].path} is not answered even without a switch: {failed.failure}")
    return replies


def summary(replies: Sequence[Reply], alone: dict[str, list[Reply]], spans: Sequence[Span]) -> dict[str, Any]:
    """What is wrong with the replies, and how long they took while a release was being opened (`spans`) and otherwise."""
    failed = [reply.failure for reply in replies if reply.failure]
    good = [reply for reply in replies if not reply.failure]
    misnamed = [f"{reply.header} and {reply.release}" for reply in good if not _named(reply, alone)]
    mixed = [
        f"question {reply.question} by {reply.release}"
        for reply in good
        if _named(reply, alone) and not alike(reply.said, alone[str(reply.release)][reply.question].said)
    ]
    opening = [reply for reply in good if any(_overlap(reply, span) for span in spans)]
    steady = [reply.took_ms for reply in good if not any(_overlap(reply, span) for span in spans)]
    wrong = {"failed": failed, "misnamed": misnamed, "mixed": mixed}
    return {
        "requests": len(replies), **{what: len(found) for what, found in wrong.items()},
        "examples": {what: found[:_EXAMPLES] for what, found in wrong.items() if found},
        "by_release": dict(Counter(str(reply.release) for reply in good)),
        "switches": len(spans), "followed_after_s": [round(end - begun, 3) for begun, end in spans],
        "ms_while_opening": _milliseconds([reply.took_ms for reply in opening]), "ms_otherwise": _milliseconds(steady),
        "exit_code": int(any(wrong.values())),
    }  # fmt: skip


def _named(reply: Reply, alone: dict[str, list[Reply]]) -> bool:
    return reply.header == reply.release and reply.release in alone


def _overlap(reply: Reply, span: Span) -> bool:
    return reply.sent <= span[1] and reply.sent + reply.took_ms / 1000 >= span[0]


def _milliseconds(values: list[float]) -> dict[str, float] | None:
    found = percentiles(values)
    return found and {"n": len(values), **{name: round(value, 2) for name, value in found.model_dump().items()}}
