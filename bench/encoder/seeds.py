"""Runs of one recipe that differ in the seed alone: NAME@0, NAME@1, ... count as one, query by query."""

from collections.abc import Iterable

import numpy as np

from bench.encoder.measure import Key, Values

MARK = "@"


def recipes(names: Iterable[str]) -> dict[str, list[str]]:
    """Recipe -> the encoders that are runs of it, in order of first appearance; an encoder without a mark is its own."""
    found: dict[str, list[str]] = {}
    for name in names:
        head, mark, tail = name.partition(MARK)
        control = tail.partition("+")[2] if mark else ""  # NAME@0+titles is a run of NAME+titles
        found.setdefault(f"{head}+{control}" if control else head, []).append(name)
    return found


def mean_over_runs(answers: dict[str, dict[Key, Values]]) -> dict[str, dict[Key, Values]]:
    """Per recipe and question, each query's mean over the runs."""
    return {
        recipe: {
            key: {metric: np.mean([answers[run][key][metric] for run in runs], axis=0) for metric in values}
            for key, values in answers[runs[0]].items()
        }
        for recipe, runs in recipes(answers).items()
    }
