"""Where the pairs of a run come from: the graph, a grades file, or both; and what is said of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from train.prefer.grades import grade_pairs, read_grades
from train.prefer.pairs import Pairs, graph_pairs
from train.world import World

_VALID_PAIRS = 2_000  # measured at each validation, at most
_WHAT = {
    "shown": "saved over shown: what users were shown before and did not save",
    "hard": "saved over hard negatives: near items that nobody saved with the saved one, a guess and no user's choice",
    "grades": "a higher over a lower grade for the same request",
}


@dataclass
class Source:
    """The pairs of a run and where they come from.

    Attributes:
        train: what is learned from.
        valid: pairs of held-out saves and requests.
        about: for the answer and the manifest.
        bad: rows of the grades that could not be used.
    """

    train: Pairs = field(default_factory=lambda: Pairs.of([]))
    valid: Pairs = field(default_factory=lambda: Pairs.of([]))
    about: dict[str, Any] = field(default_factory=dict)
    bad: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, kind: str, train: Pairs, valid: Pairs, **counts: Any) -> None:
        self.train, self.valid = self.train + train, self.valid + valid
        self.about[kind] = {"what": _WHAT[kind], "pairs": len(train), "valid_pairs": len(valid), **counts}

    def card(self) -> str:
        """The section of the model card."""
        lines = [
            f"- {about['pairs']:,} pairs of {about['what']}; {about['valid_pairs']:,} held out"
            for about in self.about.values()
        ]
        return "\n## Preference pairs\n" + "\n".join(lines) + "\n"


def open_source(
    world: World, grades: Path | None, strict: bool, config: dict[str, Any], max_history: int, seed: int
) -> Source:  # fmt: skip
    """The pairs that `config` (of the command) asks for."""
    source = Source()
    if config["negatives"] != "none":
        found = graph_pairs(
            world, config["negatives"], config["pairs_per_query"], max_history, config["max_pairs"], seed
        )
        source.add(config["negatives"], *found)
    if grades is not None:
        read = read_grades(grades, {item: row for row, item in enumerate(world.recommender.vectors.ids)}, strict)
        found = grade_pairs(
            read, config["min_margin"], config["pairs_per_query"], max_history, config["grades_valid"], seed
        )
        source.add("grades", *found, **read.counts())
        source.bad = read.bad
    if len(source.valid) > _VALID_PAIRS:
        source.valid = source.valid.rows(
            np.sort(np.random.default_rng(seed).permutation(len(source.valid))[:_VALID_PAIRS])
        )
    return source
