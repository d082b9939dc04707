"""Which items are asked for their descriptions: held out of the describe task, each text once and nowhere else."""

from dataclasses import dataclass

import numpy as np

from bench.language.figures import HeldOut
from navigator.contracts import Catalog, UserError
from navigator.prompts import held_out_for_language


@dataclass(frozen=True)
class Descriptions:
    """What is asked.

    Attributes:
        ids: n items.
        texts: their texts.
        others: for each, another of these items, whose vector is shown as the control; every item is shown once.
        counts: how they were chosen.
    """

    ids: list[str]
    texts: list[str]
    others: list[str]
    counts: HeldOut


def choose_descriptions(catalog: Catalog, count: int, seed: int) -> Descriptions:
    """A seeded choice of `count` held-out items (0: all of them).

    Raises:
        UserError: fewer than two are left, so that there is no other item to show.
    """
    items = catalog.table("items", ["item_id", "text"])
    ids = items["item_id"].to_pylist()
    texts = [text or "" for text in items["text"].to_pylist()]
    held = held_out_for_language(ids)
    trained = {_key(text) for text, out in zip(texts, held, strict=True) if not out}
    left, without, seen, repeated = {}, 0, 0, 0
    for row in np.flatnonzero(held):
        key = _key(texts[row])
        without += not key
        seen += bool(key) and key in trained
        repeated += key in left
        if key and key not in trained and key not in left:
            left[key] = int(row)
    rows = list(left.values())
    if len(rows) < 2:
        raise UserError(
            f"catalog {catalog.path} has {len(rows)} items whose descriptions can be asked ({int(held.sum())} of "
            f"{len(ids):,} are held out by id; {without} have no text, {seen} a text of other items); at least 2 are needed"
        )
    order = np.random.default_rng([seed, 18]).permutation(len(rows))[: count or len(rows)]
    chosen = [rows[i] for i in order]
    counts = HeldOut(
        items=int(held.sum()), without_text=without, text_seen=seen, repeated=repeated, asked=len(chosen)
    )  # fmt: skip
    named = [ids[row] for row in chosen]
    return Descriptions(named, [texts[row] for row in chosen], [*named[1:], named[0]], counts)


def _key(text: str) -> str:
    return text.strip().casefold()
