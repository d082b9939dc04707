"""Does the model know when to search, and does what it searches with find the item? Asked in lines that training never shows.

Figures of part `valid` choose weights, the threshold and whether the model's config says that it emits the token; part
`test` is asked once, at the end, and chooses nothing.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from navigator.contracts.signals import Query
from navigator.emission import retrieve_log_odds
from navigator.metrics import nearest, per_query
from train.chat import PARTS, ChatExample, draw_searches, talk_pool, wish
from train.chat_step import answer_states
from train.tasks import Shape
from train.world import World

SEARCHES, TALKS = 24, 40  # of a part, beside the boards' wishes
SHOWN = 2  # items that every other board's wish shows
ENOUGH = 0.95  # precision and recall that make a model one that emits the token
FARTHEST = 10.0  # log-odds of a threshold, so that its probability is no 0 or 1
SEED = 7  # of the conversations, the same for every run: runs are compared


@dataclass(frozen=True)
class HeldOut:
    """Conversations of one part: wishes of boards, one a query, then further searches, then talk."""

    queries: list[Query]
    wishes: list[ChatExample]
    searches: list[ChatExample]
    talks: list[ChatExample]
    memory: dict[Any, torch.Tensor] = field(default_factory=dict)  # see answer_states

    @classmethod
    def of(cls, world: World, part: str, limit: int = 0) -> "HeldOut":
        """Lines of `part` over boards with a title and a held-out save (at most `limit`, 0 is all) and over spared items."""
        rng = np.random.default_rng([SEED, PARTS.index(part)])
        queries = [query for query in world.valid_queries(limit, titles=True) if query.title.strip()]
        wishes = [
            wish(world, part, query.title, query.history[: SHOWN * (number % 2)], rng, query.targets)
            for number, query in enumerate(queries)
        ]
        return cls(
            queries, wishes, draw_searches(world, part, SEARCHES, rng, Shape()), talk_pool(world, part, TALKS, SEED)
        )

    @torch.inference_mode()
    def measured(self, world: World) -> "Measured":
        """What the model as it is makes of them."""
        recommender, model = world.recommender, world.recommender.model
        learning = model.training
        model.eval()

        def pixels(rows: list[int]) -> torch.Tensor:
            return torch.from_numpy(recommender.pixels(rows)).to(recommender.device)

        asked = [*self.wishes, *self.searches, *self.talks]
        ends, _ = answer_states(world, asked, pixels, self.memory)
        odds = retrieve_log_odds(model, torch.stack([end[0] for end in ends])).cpu().numpy()
        queries = None
        if self.wishes:
            starts = recommender.starts([e.history for e in self.wishes], [e.words for e in self.wishes])
            at_token = torch.stack([end[-1] for end in ends[: len(self.wishes)]])
            queries = model.query(starts, at_token).float().cpu().numpy()
        model.train(learning)
        wanted = len(self.wishes) + len(self.searches)
        return Measured(odds[:wanted], odds[wanted:], None if queries is None else self._ndcg(world, queries))

    def _ndcg(self, world: World, queries: np.ndarray) -> float:
        warm = np.flatnonzero(world.warm).tolist()
        excluded = [[*q.history, *warm] if q.among_new(world.warm) else q.history for q in self.queries]
        ranked = nearest(queries, world.recommender.vectors.float32(), 50, excluded)
        return float(per_query(ranked, [q.targets for q in self.queries])["ndcg@10"].mean())


@dataclass(frozen=True)
class Measured:
    """Attributes:
    wanted, unwanted: log-odds of a search, where one is wanted and where none is.
    ndcg: mean NDCG@10 of the boards' wishes over the whole catalogue without what the board has; None without boards.
    """

    wanted: np.ndarray
    unwanted: np.ndarray
    ndcg: float | None

    def figures(self) -> dict[str, float]:
        """What chooses a step's weights: ``chat``, the best F1 of emission plus the wishes' NDCG@10; and both."""
        f1 = self.rates(self.border())["f1"] or 0.0
        found = {"chat": f1 + (self.ndcg or 0.0), "emission_f1": f1}
        return found if self.ndcg is None else found | {"chat_ndcg@10": self.ndcg}

    def border(self) -> float:
        """Log-odds from which on to search: those of the best F1 within +-FARTHEST, half-way between the scores they part."""
        scores = np.unique(np.concatenate([self.wanted, self.unwanted, [-FARTHEST, FARTHEST]]))
        borders = np.concatenate([[0.0], (scores[:-1] + scores[1:]) / 2])
        borders = borders[np.abs(borders) <= FARTHEST]
        return float(borders[np.argmax([self.rates(border)["f1"] or 0.0 for border in borders])])

    def rates(self, border: float) -> dict[str, float | int | None]:
        """Of searching from `border` on: precision, recall, F1 (None where nothing is divided by), and the counts."""
        hits, misses = int((self.wanted >= border).sum()), int((self.wanted < border).sum())
        false = int((self.unwanted >= border).sum())
        precision, recall = _share(hits, hits + false), _share(hits, hits + misses)
        return {
            "precision": precision, "recall": recall, "f1": _share(2 * hits, 2 * hits + false + misses),
            "wanted": len(self.wanted), "unwanted": len(self.unwanted), "hits": hits, "false": false,
        }  # fmt: skip


def settle(world: World, held: HeldOut, limit: int) -> dict[str, Any]:
    """Calibrate the trained model on `held`, write into its config whether it emits the token, and tell how well it does.

    Precision and recall of the manifest's `valid` chose the threshold; those of `test` chose nothing.
    """
    config, measured = world.recommender.model.config, held.measured(world)
    border = measured.border()
    valid, test = measured.rates(border), HeldOut.of(world, "test", limit).measured(world).rates(border)
    config.emits_retrieve = all((valid[name] or 0.0) >= ENOUGH for name in ("precision", "recall"))
    config.retrieve_threshold = float(1 / (1 + np.exp(-border)))
    return {
        "emits_retrieve": config.emits_retrieve, "retrieve_threshold": config.retrieve_threshold, "enough": ENOUGH,
        "valid": valid, "test": test,
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
