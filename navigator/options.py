"""How `navigator recommend` turns lists into one: every dial of navigator.pipeline, checked when it is set."""

import math
from dataclasses import dataclass, field

from navigator.contracts import UserError

# Content alone finds what nobody saved yet and little else, so it has half a voice among the sources.
WEIGHTS = {"model": 1.0, "content-graph": 1.0, "content": 0.5, "text": 1.0, "picture": 1.0}


@dataclass(frozen=True)
class Options:
    """Attributes:
    retrieve: candidates that are ranked, and items that each source gives.
    weights: of the sources (navigator.retrieve) in the fusion, WEIGHTS where not given.
    ranking: the model's voice against that of the fused lists, 0 to 1. On validation the fused lists only cost once the
        model is trained (configs/posttrain/serving.py, docs/LOG.md).
    decay: factor for every similar item above, above 0 to 1; 1 is off.
    similar: content cosine from which two items are similar.
    """

    retrieve: int = 200
    weights: dict[str, float] = field(default_factory=dict)
    ranking: float = 1.0
    decay: float = 0.95
    similar: float = 0.8

    def __post_init__(self):
        if self.retrieve < 1:
            raise UserError(f"retrieve is {self.retrieve}; allowed are 1 and more")
        if not 0 <= self.ranking <= 1:
            raise UserError(f"ranking is {self.ranking}; allowed are 0 (retrieval's order) to 1 (the model's order)")
        if not 0 < self.decay <= 1:
            raise UserError(f"decay is {self.decay}; allowed are numbers above 0 to 1, and 1 is off")
        if not -1 <= self.similar <= 1:
            raise UserError(f"similar is {self.similar}; it is a cosine, allowed are -1 to 1")
        unknown = [name for name in self.weights if name not in WEIGHTS]
        if unknown:
            raise UserError(f"weights name source {unknown[0]!r}; allowed are {', '.join(WEIGHTS)}")
        weights = WEIGHTS | self.weights
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()) or not any(weights.values()):
            raise UserError(f"weights {weights}: allowed are numbers of 0 and more, at least one of them above 0")
        object.__setattr__(self, "weights", weights)
