"""``navigator-bench candidates``: ranking many candidates at once gives the ranking of one request each, in how much less time?

A swapped model's heads start at zero: then every way gives the same scores by arithmetic alone. So heads that are zero are
drawn at random, and the answer says so.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.device import describe_device
from bench.provenance import command_words
from navigator.contracts import ItemVectors, UserError
from navigator.contracts.manifest import commit, versions, write_text
from navigator.contracts.vectors import normalise

HEAD_STD = 0.3
ENOUGH = 20.0  # times less time than one by one


def candidates(
    model: Path, vectors: Path | None = None, out: Path = Path("runs/candidates.json"), candidates: int = 200,
    history: int = 20, repeats: int = 5, device: str = "auto", dtype: str = "float32", attention: str = "sdpa", seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Rank candidates in one pass, over a kept history, and one by one: same order, how many times faster.

    Args:
        model: a swapped model folder.
        vectors: store of the item vectors it reads; by default random ones.
        out: JSON file to write.
        candidates: to be ranked in a request.
        history: items of a request.
        repeats: requests drawn; the median counts.
        device: auto, cpu or cuda.
        dtype: float32, bfloat16, float16 or auto; in half precision the order of near ties may change.
        attention: sdpa; eager and flash_attention_2 take no mask, and continue the history in a batch instead of one pass.
        seed: of the requests, and of vectors and heads where they are random.

    Returns:
        What is written: machine, date, protocol, per way the median time, how many times faster than one by one, the least
        Spearman correlation with it, the largest difference of a score; the raw rows; and whether the bar is met.

    Raises:
        UserError: a missing input, vectors of another encoder, or an option out of range.
    """
    if candidates < 2 or min(history, repeats) < 1:
        raise UserError(f"candidates {candidates}, history {history}, repeats {repeats}: allowed are >= 2, >= 1, >= 1")
    from bench.candidate_ways import FIRST, ONE_PASS, answer, draw, summary

    asked = {"candidates": candidates, "history": history, "repeats": repeats, "seed": seed}
    recommender = _open(model, vectors, history + candidates, device, dtype, attention, history, seed)
    heads = _fill_zero_heads(recommender.model, seed)
    answers = answer(recommender, draw(recommender, candidates, history, repeats, seed))
    flags = {"vectors": vectors, "out": out, "device": device, "dtype": dtype, "attention": attention, **asked}
    result: dict[str, Any] = {
        "machine": describe_device(dtype, recommender.device.type == "cuda").model_dump(), "versions": versions(),
        "commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_words(["navigator-bench", "candidates", str(model)], flags),
        "protocol": asked | {
            "dtype": dtype, "attention": attention, "tokens_per_item": recommender.tokens_per_item, "heads": heads,
            "vectors": "random" if vectors is None else vectors.name, "model": model.name,
            "parameters_m": round(sum(p.numel() for p in recommender.model.parameters()) / 1e6, 1),
        },
        "ways": {name: summary(name, answers) for name in answers[0]},
        "rows": [
            {"way": name, "request": i, "seconds": given.seconds, "tokens": given.tokens}
            for i, by_way in enumerate(answers) for name, given in by_way.items()
        ],
    }  # fmt: skip
    at_once = result["ways"].get(ONE_PASS, result["ways"][FIRST])
    result["met"] = {"order": at_once["reordered"] == 0, "time": at_once["times_faster"] >= ENOUGH}
    write_text(out, json.dumps(result, indent=1))
    return {"out": str(out), **result, "text": _table(result)}


def _open(
    model: Path, vectors: Path | None, needed: int, device: str, dtype: str, attention: str, history: int, seed: int
) -> Any:
    """The recommender; where no vectors are given, over random ones of the model's size."""
    from navigator.recommend import Recommender, pick_device, pick_dtype
    from navigator.swap import open_swapped

    if vectors is not None:
        opened = Recommender.open(model, vectors, device, dtype, history, attention)
        if len(opened.vectors.ids) < needed:
            raise UserError(f"{vectors} has {len(opened.vectors.ids)} items, a request shows {needed}; ask for fewer")
        return opened
    where = pick_device(device)
    loaded, processor = open_swapped(model, pick_dtype(dtype, where), str(where))
    loaded.set_attn_implementation(attention)
    drawn = normalise(np.random.default_rng(seed).normal(size=(5 * needed, processor.dim))).astype(np.float32)
    store = ItemVectors([str(i) for i in range(len(drawn))], drawn, processor.encoder, True)
    return Recommender(loaded, processor, store, history)


def _fill_zero_heads(model: Any, seed: int) -> str:
    """ "trained", or "random" for a model without training, whose heads get random weights."""
    import torch

    zero = [head for head in (model.retrieval_head, model.ranking_head) if not bool(head.weight.any())]
    torch.manual_seed(seed)
    for head in zero:
        torch.nn.init.normal_(head.weight, std=HEAD_STD)
    return "random" if zero else "trained"


def _table(result: dict[str, Any]) -> str:
    asked = result["protocol"]
    lines = [
        f"{asked['candidates']} candidates, {asked['history']} history items, median of {asked['repeats']} requests"
    ]
    lines.append(f"{'':22}{'ms':>9}{'tokens':>8}{'times faster':>14}{'Spearman':>11}{'max difference':>16}")
    for name, way in result["ways"].items():
        agrees = "" if way["spearman"] is None else f"{way['spearman']:>11.6f}{way['max_difference']:>16.1e}"
        lines.append(f"{name:22}{way['seconds'] * 1e3:>9.1f}{way['tokens']:>8}{way['times_faster']:>14.1f}{agrees}")
    return "\n".join(lines)
