"""When requests are meant to be sent, decided before anything is sent.

Open loop: arrivals are a Poisson process and do not wait for answers, because people do not. A generator that sends the next
request when the last is answered slows down with the server it measures, and leaves out the very requests that would have
waited ("coordinated omission", G. Tene, How NOT to Measure Latency, 2013). Times are counted from the intended arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segment:
    """A stretch of time at one rate: requests a second, for seconds."""

    phase: str
    rate_rps: float
    seconds: float


@dataclass(frozen=True)
class Arrivals:
    """What is to be sent in a step, in order.

    Attributes:
        segments: one after another without a pause.
        offsets_s: (n,) seconds after the step's beginning, ascending.
        segment: (n,) which segment each belongs to.
    """

    segments: tuple[Segment, ...]
    offsets_s: np.ndarray
    segment: np.ndarray


def starts_s(segments: Sequence[Segment]) -> list[float]:
    """When each segment begins, seconds after the step's beginning."""
    return [sum(s.seconds for s in segments[:i]) for i in range(len(segments))]


def poisson(rate_rps: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) ascending arrival times in [0, seconds), n = rate * seconds rounded, at least 1.

    A Poisson process given how many arrive: independent uniform times (Kingman, Poisson Processes, 1993, section 2.4). So the
    gaps are as irregular as they should be, and the offered rate is the one that was asked for.
    """
    return np.sort(rng.uniform(0, seconds, max(1, round(rate_rps * seconds))))


def plan(segments: Sequence[Segment], seed: Sequence[int]) -> Arrivals:
    """The arrivals of a step; the same seed, rates and seconds give the same times."""
    rng = np.random.default_rng(list(seed))
    drawn = [poisson(segment.rate_rps, segment.seconds, rng) for segment in segments]
    return Arrivals(
        tuple(segments),
        np.concatenate([times + start for times, start in zip(drawn, starts_s(segments), strict=True)]),
        np.concatenate([np.full(times.size, i) for i, times in enumerate(drawn)]),
    )
