"""Step -> its batch, by (seed, step) alone: owners, what is shown of them, what is asked for, and against what."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from train.gnn.config import GnnConfig
from train.gnn.frequency import target_shares
from train.gnn.world import GnnWorld


@dataclass(frozen=True)
class GnnBatch:
    """The global batch of one step. Pairs are sorted by owner.

    Attributes:
        task: always "gnn"; for the log.
        step: which step it is.
        examples: (B,) owners.
        fold: whose owners they are (see GnnConfig.folds).
        shown, shown_of: (s,) items shown and whose they are (position in `examples`).
        targets, targets_of: (t,) items asked for, the same way.
        known, known_of: all training saves of the owners, none of which is a negative.
        candidates: (C,) distinct items, ascending.
        live: (C,) bool, candidates whose vectors are computed in this step, with gradients.
        log_chance: (C,) float32, log of each candidate's chance to be among the candidates.
    """

    task: str
    step: int
    examples: np.ndarray
    fold: int
    shown: np.ndarray
    shown_of: np.ndarray
    targets: np.ndarray
    targets_of: np.ndarray
    known: np.ndarray
    known_of: np.ndarray
    candidates: np.ndarray
    live: np.ndarray
    log_chance: np.ndarray


class Drawer:
    """Owners in a new order every epoch, fold by fold."""

    def __init__(self, world: GnnWorld, config: GnnConfig, batch_size: int, steps: int, seed: int):
        self.world, self.config, self.batch_size, self.steps, self.seed = world, config, batch_size, steps, seed
        usable = np.flatnonzero(world.owners.sizes >= 2)
        self.fold_of_owner = np.random.default_rng([seed, 4]).integers(config.folds, size=len(world.owners.ids))
        self.members = [usable[self.fold_of_owner[usable] == fold] for fold in range(config.folds)]
        self.full = [fold for fold, members in enumerate(self.members) if len(members)]
        self.shares = target_shares(world.owners.items, world.n_items, config.counts)
        self.order = lru_cache(maxsize=config.folds)(self._order)

    def __call__(self, step: int) -> GnnBatch:
        config, world = self.config, self.world
        fold, owners = self._owners(step)
        rng = np.random.default_rng([self.seed, step, 2])
        known_of, known = world.owners.saves(owners)
        shown, asked = self._hide(known_of, rng)
        targets = known[asked]
        hard = self._hard(np.unique(targets), step, rng)
        in_batch = np.unique(targets) if config.in_batch else targets[:0]
        uniform = rng.choice(world.n_items, min(config.negatives, world.n_items), replace=False)
        candidates = np.union1d(np.union1d(in_batch, hard), uniform)
        chance = self._chance(candidates, len(uniform), len(targets) * config.in_batch, np.isin(candidates, hard))
        return GnnBatch(
            "gnn", step, owners, fold, known[shown], known_of[shown], targets, known_of[asked], known, known_of, candidates,
            np.isin(candidates, np.union1d(in_batch, hard)), np.log(chance).astype(np.float32),
        )  # fmt: skip

    def _chance(self, candidates: np.ndarray, uniform: int, targets: int, hard: np.ndarray) -> np.ndarray:
        """(C,) chance of each candidate to be one: drawn uniformly, as the target of some owner, or put in as hard."""
        missed = (1 - uniform / self.world.n_items) * np.exp(-targets * self.shares[candidates])
        return np.maximum(np.where(hard, 1.0, 1 - missed), 1e-12)

    def _owners(self, step: int) -> tuple[int, np.ndarray]:
        """Fold and owners of a step; a fold lasts for `refresh` steps."""
        turn, within = divmod(step, self.config.refresh)
        fold = self.full[turn % len(self.full)]
        nth = turn // len(self.full) * self.config.refresh + within  # how many batches of this fold came before
        members = self.members[fold]
        epoch, place = divmod(nth, -(-len(members) // self.batch_size))
        return fold, self.order(fold, epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def _order(self, fold: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, fold, 1]).permutation(self.members[fold])

    def _hide(self, owner: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(k,) bool each: saves that are shown and saves that are asked for; every owner has one of either."""
        config = self.config
        size = np.bincount(owner)
        first = np.cumsum(size) - size
        place = np.arange(len(owner)) - first[owner]
        in_window = np.ones(len(owner), bool)
        if config.window:
            length = np.minimum(size, max(config.window, 2))
            begin = (rng.random(len(size)) * (size - length + 1)).astype(np.int64)
            in_window = (place >= begin[owner]) & (place < (begin + length)[owner])
            size = length
        order = np.lexsort((rng.random(len(owner)), ~in_window, owner))
        rank = np.empty(len(owner), np.int64)
        rank[order] = place  # random rank within the owner, the window first
        hidden = np.clip(rng.binomial(size, config.hide), 1, size - 1)
        asked = np.minimum(hidden, config.max_targets or size)
        shown = np.minimum(size - hidden, config.max_shown or size)
        return (rank >= (size - shown)[owner]) & (rank < size[owner]), rank < asked[owner]

    def _hard(self, targets: np.ndarray, step: int, rng: np.random.Generator) -> np.ndarray:
        """Hard negatives of the targets, more of them as the curriculum goes on."""
        table, config = self.world.hard_negatives, self.config
        grown = min(1.0, (step + 1) / (config.curriculum * self.steps))
        count = round(config.hard_negatives * grown)
        if table is None or not count:
            return targets[:0]
        columns = rng.permutation(table.shape[1])[:count]
        found = np.unique(table[targets][:, columns])
        return found[found >= 0].astype(np.int64)
