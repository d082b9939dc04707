"""Rows of requests -> figures. Conversations are drawn for the intervals, because their turns belong together."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.assistant.figures import Groundedness, Refusals, Retrieval, SystemRow
from bench.assistant.score import VIOLATIONS, Row
from bench.assistant.systems import ASSISTANT, LAST
from bench.encoder.figures import Figure
from bench.encoder.intervals import intervals, ratio

Rows = Sequence[Row]


def system_rows(rows: Rows, seed: int) -> dict[str, SystemRow]:
    """Every system's figures, in the order in which they are first met."""
    names = list(dict.fromkeys(row["system"] for row in rows))
    rival = {_key(row): row for row in rows if row["system"] == LAST}
    return {name: _system(name, [row for row in rows if row["system"] == name], rival, seed) for name in names}


def _system(name: str, own: Rows, rival: dict[tuple[str, int], Row], seed: int) -> SystemRow:
    against = {} if name == LAST else rival
    strata = list(dict.fromkeys(row["stratum"] for row in own))
    talk = [row for row in own if row["expect"] == "talk"]
    answered = [row for row in own if row["error"] is None]

    def within(stratum: str) -> Rows:
        return [row for row in own if row["stratum"] == stratum]

    refusals = {stratum: _refusals(within(stratum), seed) for stratum in strata}
    return SystemRow(
        requests=len(own), failed=len(own) - len(answered), waits=sum(row["waits"] for row in own),
        errors=dict(Counter(r["error"] for r in own if r["error"])),
        last=_retrieval([row for row in own if row["last"]], against, seed), all_turns=_retrieval(own, against, seed),
        refusals=_refusals(own, seed), groundedness=_groundedness(answered, seed) if name == ASSISTANT else None,
        broken={v: sum(row[f"broke_{v}"] for row in own) for v in VIOLATIONS},
        asked={v: sum(row[f"asked_{v}"] for row in own) for v in VIOLATIONS},
        talk=len(talk), talk_with_items=sum(bool(row["items"]) for row in talk),
        talk_refused=sum(bool(row["refused"]) for row in talk), latency_ms=_latency(answered),
        tokens=_tokens(answered), releases=sorted({row["release"] for row in answered if row["release"]}),
        strata={stratum: _retrieval(within(stratum), against, seed) for stratum in strata},
        refusals_by_stratum={s: r for s, r in refusals.items() if r.hits + r.missed},
    )  # fmt: skip


def _retrieval(rows: Rows, rival: dict[tuple[str, int], Row], seed: int) -> Retrieval:
    wanted = [row for row in rows if row["expect"] == "items"]
    scored = [row for row in wanted if row["ndcg"] is not None]
    pairs = [(row, other) for row in scored if (other := rival.get(_key(row))) and other["ndcg"] is not None]
    minus = _mean([row for row, _ in pairs], [row["ndcg"] - other["ndcg"] for row, other in pairs], seed)
    shown = [row for row in wanted if row["judged"] is not None]
    return Retrieval(
        turns=len(wanted), without=len(wanted) - len(scored), ndcg=_mean(scored, _of(scored, "ndcg"), seed),
        condensed=_mean(scored, _of(scored, "ndcg_condensed"), seed), judged=_mean(shown, _of(shown, "judged"), seed),
        minus_search=minus,
    )  # fmt: skip


def _refusals(rows: Rows, seed: int) -> Refusals:
    """Refused is what the system says; a failed request refused nothing."""
    own = [row for row in rows if row["expect"] in ("items", "refuse")]
    due = np.array([row["expect"] == "refuse" for row in own], np.float64)
    done = np.array([bool(row["refused"]) for row in own], np.float64)
    clusters = _clusters(own)

    def share(part: np.ndarray, whole: np.ndarray) -> Figure | None:
        return ratio(part, whole, clusters, seed) if len(own) else None

    hits = due * done
    return Refusals(
        hits=int(hits.sum()), wrong=int((done - hits).sum()), missed=int((due - hits).sum()),
        precision=share(hits, done), recall=share(hits, due), f1=share(2 * hits, done + due) if due.any() else None,
    )  # fmt: skip


def _groundedness(rows: Rows, seed: int) -> Groundedness:
    flagged = [row for row in rows if row["says_grounded"] is not None]
    return Groundedness(
        answers=len(rows),
        naming=sum(bool(row["names"] or row["names_elsewhere"] or row["names_invented"]) for row in rows),
        grounded=_mean(rows, _of(rows, "grounded"), seed), elsewhere=sum(len(row["names_elsewhere"]) for row in rows),
        invented=sum(len(row["names_invented"]) for row in rows),
        flag_agrees=_mean(flagged, [row["says_grounded"] == row["grounded"] for row in flagged], seed),
        flag_too_kind=sum(row["says_grounded"] and not row["grounded"] for row in flagged),
    )  # fmt: skip


def _latency(rows: Rows) -> dict[str, float] | None:
    times = [row["latency_ms"] for row in rows if row["latency_ms"] is not None]
    return {f"p{p}": float(np.percentile(times, p)) for p in (50, 95)} if times else None


def _tokens(rows: Rows) -> dict[str, float] | None:
    counted = [row for row in rows if row["prompt_tokens"] is not None and row["completion_tokens"] is not None]
    if not counted:
        return None
    return {name: float(np.mean([row[f"{name}_tokens"] for row in counted])) for name in ("prompt", "completion")}


def _mean(rows: Rows, values: Sequence[float], seed: int) -> Figure | None:
    if not len(values):
        return None
    return intervals(np.array(values, np.float64)[:, None], _clusters(rows), seed)[0]


def _of(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def _clusters(rows: Rows) -> np.ndarray:
    return np.array([row["conversation"] for row in rows])


def _key(row: Row) -> tuple[str, int]:
    return row["conversation"], row["turn"]
