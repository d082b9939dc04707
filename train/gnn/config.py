"""What the graph encoder is and what it is asked, checked before anything is read."""

from dataclasses import dataclass
from typing import Literal

from navigator.contracts import UserError

RATES = {"table": 1e-3, "encoder": 1e-3}


@dataclass(frozen=True)
class GnnConfig:
    """What the encoder is and what it is asked.

    Attributes:
        encoder: omnisage reads content vectors and sampled neighbours; lightgcn learns a vector an item and needs neither.
            auto is omnisage where vectors are given, else lightgcn.
        dim: width of lightgcn's vectors; omnisage's graph part is as wide as the content.
        start: lightgcn's vectors begin as the graph's leading eigenvectors, or at random.
        hide: share of an owner's saves that is asked for from the others.
        window: consecutive saves of an owner that one example is drawn from, and latest ones that its vector is made of; 0
            is all of them.
        max_shown: saves shown at most, 0 is no limit.
        max_targets: saves asked for at most, 0 is no limit.
        temperature: logits are cosine / temperature.
        in_batch: whether the targets of the other owners are negatives.
        negatives: items drawn uniformly as negatives each step; at least the catalogue's size means all items.
        hard_negatives: at the end of the curriculum, items of late walk rank that each target brings along.
        curriculum: share of the steps over which hard negatives grow from none to all (PinSage).
        counts: how the logQ correction knows item frequencies: exact, or a count-min sketch.
        neighbours: of omnisage: the most visited of random walks, k-hop (uniform from two hops), or none.
        top_items: item neighbours an item.
        top_contexts: boards and users an item, each.
        walks: random walks from each item.
        folds: an owner's examples see neighbourhoods sampled without any owner of its fold, as a held-out save would; 1 is
            off.
        refresh: steps between two looks at all items, whose vectors serve as uniform negatives until the next.
        width: of the transformer layer.
        heads: of its attention.
        drop_neighbours: share of items shown without neighbours in training, as new items are.
        graph_weight: length of the graph part beside a content vector of length 1.
    """

    encoder: Literal["auto", "omnisage", "lightgcn"] = "auto"
    dim: int = 256
    start: Literal["spectral", "random"] = "spectral"
    hide: float = 0.5
    window: int = 0
    max_shown: int = 0
    max_targets: int = 0
    temperature: float = 0.1
    in_batch: bool = True
    negatives: int = 1024
    hard_negatives: int = 0
    curriculum: float = 0.5
    counts: Literal["exact", "count-min"] = "exact"
    neighbours: Literal["walk", "k-hop", "none"] = "walk"
    top_items: int = 10
    top_contexts: int = 5
    walks: int = 500
    folds: int = 5
    refresh: int = 20
    width: int = 128
    heads: int = 4
    drop_neighbours: float = 0.1
    graph_weight: float = 1.0

    def check(self, save_every: int) -> None:
        """Raises UserError: a value out of range."""
        least = {"dim": 1, "window": 0, "max_shown": 0, "max_targets": 0, "negatives": 0, "hard_negatives": 0}
        least |= {"top_items": 0, "top_contexts": 0, "walks": 1, "folds": 1, "refresh": 1, "width": 1, "heads": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"objective.{name} {getattr(self, name)}: allowed are whole numbers from {low}")
        if not (0 < self.hide < 1 and 0 <= self.drop_neighbours < 1 and 0 < self.curriculum <= 1):
            raise UserError(
                f"objective.hide {self.hide}, drop_neighbours {self.drop_neighbours}, curriculum {self.curriculum}: "
                "allowed are shares between 0 and 1"
            )
        if self.temperature <= 0 or self.graph_weight < 0:
            raise UserError(
                f"objective.temperature {self.temperature}, graph_weight {self.graph_weight}: allowed are > 0, >= 0"
            )
        if not self.in_batch and not self.negatives:
            raise UserError("objective.in_batch false and negatives 0 leave nothing to tell a target from; give one")
        if self.width % self.heads:
            raise UserError(f"objective.width {self.width} must be a multiple of objective.heads {self.heads}")
        if save_every % self.refresh:
            raise UserError(
                f"loop.save_every {save_every} must be a multiple of objective.refresh {self.refresh}, so that a resumed "
                "run sees the same negatives"
            )
