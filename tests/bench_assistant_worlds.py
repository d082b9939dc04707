"""A tiny catalogue, four conversations over it, and a server that knows its answers by heart."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from bench.assistant.figures import AssistantReport
from bench.cli import main
from forget_worlds import write_catalog

TITLES = {
    "a1": "red apple",
    "a2": "green apple",
    "c1": "black cat",
    "c2": "white cat",
    "t1": "tall tree",
    "t2": "old tree",
}
Server = Callable[..., Any]


def user(words: Any, expect: str = "items", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": words, "expect": expect, **more}


def refuse(words: str) -> dict[str, Any]:
    return user(words, "refuse", why="none")


CATS = [{"type": "item", "item": item} for item in ("c1", "c2")]
SHOWN = {"role": "assistant", "content": [{"type": "text", "text": "Two cats."}, *CATS]}
PICTURE = {"type": "picture", "item": "t1", "transform": ["grey"]}
CONVERSATIONS: list[dict[str, Any]] = [
    {"id": "g1", "split": "test", "stratum": "refinement", "turns": [
        user("an apple", grades={"a1": 2, "a2": 1, "c1": 0}), user("hello", "talk"),
        user("more", grades={"a1": 2, "a2": 2, "c1": 0}, retrieval={"exclude_seen": True, "keyword": "fruit"}),
    ]},
    {"id": "g2", "split": "test", "stratum": "near-miss", "turns": [user("a cat", grades={"c1": 2}), refuse("a dog")]},
    {"id": "g3", "split": "test", "stratum": "reference", "turns": [
        user("cats", "given"), SHOWN,
        user("like the first", grades={"c2": 2}, never=["c1"], retrieval={"exclude_seen": False, "board": "zoo"}),
    ]},
    {"id": "g4", "split": "dev", "stratum": "picture", "turns": [
        user([PICTURE, {"type": "text", "text": "like this"}], grades={"t2": 2}), refuse("a bush")]},
]  # fmt: skip


def write_world(folder: Path) -> Path:
    """A catalogue of six items, a board of cats, and four conversations."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "green").save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": None}
    fruit = {"a1": ["fruit"], "a2": ["fruit"]}
    items = [
        {"item_id": i, "title": t, "description": "", "keywords": fruit.get(i, []), "image": image}
        for i, t in TITLES.items()
    ]
    rows: dict[str, list[dict[str, Any]]] = {
        "items": items, "boards": [{"board_id": "zoo", "title": "zoo", "owner_id": "o"}],
        "board_items": [{"board_id": "zoo", "item_id": i, "saved_at": 1} for i in ("c1", "c2")],
        "interactions": [], "follows": [], "rejects": [],
    }  # fmt: skip
    write_catalog(folder / "catalog", rows)
    (folder / "gold.jsonl").write_text("\n".join(map(json.dumps, CONVERSATIONS)))
    return folder


def shown(*items: str) -> list[dict[str, Any]]:
    return [{"item": i, "title": TITLES[i], "score": 1.0, "picture": f"/v1/items/{i}/picture"} for i in items]


def said(text: str, *items: str, refused: bool = False, grounded: bool = True) -> str:
    own = {
        "release": "v1",
        "items": shown(*items),
        "retrieved": True,
        "refused": refused,
        "grounded": grounded,
        "removed": 0,
    }
    return json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": text}}], "navigator": own,
         "usage": {"prompt_tokens": 10, "completion_tokens": 4}}
    )  # fmt: skip


ANSWERS = {
    "an apple": said('I found "green apple" and "red apple".', "a2", "a1"),
    "hello": said('Hello! You saw "red apple" before.'),
    "more": said('Here is "black cat".', "a1", "c1"),  # seen before, without the keyword
    "a cat": said('Only "tall tree".', "t1", "c1"),  # names another item than it says, well: it shows t1
    "a dog": said("I have no dog.", refused=True),
    "like the first": said(
        'Not "red apple", sorry.', "c1", "t1", grounded=True
    ),  # had already; not on the board; not shown
    "like this": said("", "t2"),
    "a bush": said("A bush!", "t1"),
}


def answer(answers: dict[str, str], reaction: Any, status: Callable[[str], int] = lambda words: 200) -> Any:
    """A server that knows what it says to the last words of a chat, and finds a1 for every search but of an item or picture."""

    def react(body: dict[str, Any], number: int) -> Any:
        if "messages" not in body:
            found = shown(*(i for i in ("a1", "c1") if i not in body["exclude"]))
            return reaction(raw=json.dumps({"object": "search", "release": "v1", "results": found}))
        content = body["messages"][-1]["content"]
        words = content if isinstance(content, str) else " ".join(p.get("text", "") for p in content).strip()
        return reaction(raw=answers[words], status=status(words))

    return react


def run(world: Path, url: str, *more: str) -> tuple[int, AssistantReport, list[dict[str, Any]]]:
    out = world / "report"
    code = main(["assistant", "--url", url, "--catalog", str(world / "catalog"), "--gold", str(world / "gold.jsonl"),
                 "--out", str(out), *more])  # fmt: skip
    report = AssistantReport.model_validate_json((out / "report.json").read_text())
    return code, report, pq.read_table(out / "requests.parquet").to_pylist()


def base(server: Any) -> str:
    return server.url.removesuffix("/v1")
