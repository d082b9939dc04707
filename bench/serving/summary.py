"""From rounds to points and gains."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.serving.figures import Gain, Point, Round
from bench.serving.options import BATCHED, UNBATCHED

Key = tuple[str, str, int]  # load, server, clients


def points(rounds: Mapping[Key, Sequence[Round]]) -> list[Point]:
    """A point for every key, of the medians of its rounds, each figure by itself."""
    return [
        Point(
            load=load, server=server, clients=clients, median=_median(own), rounds=list(own),
            lowest_rps=min(one.throughput_rps for one in own), highest_rps=max(one.throughput_rps for one in own),
        )
        for (load, server, clients), own in rounds.items()
    ]  # fmt: skip


def gains(rounds: Mapping[Key, Sequence[Round]]) -> list[Gain]:
    """Batched over unbatched, wherever both were measured and the latter answered."""
    found = []
    for (load, server, clients), batched in rounds.items():
        plain = rounds.get((load, UNBATCHED, clients))
        if server != BATCHED or plain is None or min(one.throughput_rps for one in plain) <= 0:
            continue
        pairs = [one.throughput_rps / other.throughput_rps for one, other in zip(batched, plain, strict=True)]
        ours, theirs = _median(batched), _median(plain)
        cpu = None if not ours.cpu_ms or theirs.cpu_ms is None else theirs.cpu_ms / ours.cpu_ms
        ratio = ours.throughput_rps / theirs.throughput_rps
        found.append(Gain(load=load, clients=clients, throughput=ratio, lowest=min(pairs), highest=max(pairs), cpu=cpu))
    return found


def _median(rounds: Sequence[Round]) -> Round:
    values: dict[str, Any] = {}
    for name in Round.model_fields:
        told = [getattr(one, name) for one in rounds if getattr(one, name) is not None]
        values[name] = median(told) if told else None
    values |= {name: sum(getattr(one, name) for one in rounds) for name in ("refused", "lost")}
    return Round(**values)
