"""The batch of a step, drawn by (seed, step) alone: anchors, their neighbours, hard negatives, and what each may show."""

from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from encoders.fusion import fuse
from train.clip.config import ClipConfig, TowerConfig
from train.clip.world import ClipWorld


@dataclass(frozen=True)
class Side:
    """Items of one role in the global batch.

    Attributes:
        rows: (k,) item rows.
        shown: (k, M) bool, the parts that are shown.
        titles: for each, the title numbers that are shown.
    """

    rows: np.ndarray
    shown: np.ndarray
    titles: list[np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """A share of a side as tensors.

    Attributes:
        picture: features (k, F) or pixels (k, 3, S, S) uint8.
        text: features (k, F) or token ids (k, L).
        titles: the distinct titles shown, as `text`.
        title_of: (2, e) item position and title position.
        captions: as `text`; None when the catalogue has none.
        shown: (k, M) bool.
    """

    picture: torch.Tensor
    text: torch.Tensor
    titles: torch.Tensor
    title_of: torch.Tensor
    captions: torch.Tensor | None
    shown: torch.Tensor


@dataclass(frozen=True)
class ClipBatch:
    """The global batch of one step, with the tensors of this process's share.

    Attributes:
        task: for the log.
        examples: (B,) anchor rows.
        anchors, neighbours, negatives: this share; negatives are None when none are asked for.
        has_pair: (B,) bool, anchors with picture and text.
        has_neighbour: (B,) bool.
        together: (R, B) bool, see Taste.together, for the rows of this share.
        text_ids: (B,) equal numbers for equal texts.
        negative_there: (R, H) bool.
        weights: (B,) graded weights.
        before: (B, D) the anchors, with the parts they show, as the untuned encoder sees them; None where nothing asks.
    """

    task: str
    examples: np.ndarray
    anchors: Inputs
    neighbours: Inputs
    negatives: Inputs | None
    has_pair: torch.Tensor
    has_neighbour: torch.Tensor
    together: torch.Tensor
    text_ids: torch.Tensor
    negative_there: torch.Tensor
    weights: torch.Tensor
    before: torch.Tensor | None


class Drawer(torch.utils.data.Dataset):
    """Step number -> ClipBatch, the same global batch in every process."""

    def __init__(self, world: ClipWorld, config: ClipConfig, towers: TowerConfig, size: int, seed: int, share: slice):
        self.world, self.config, self.towers = world, config, towers
        self.size, self.seed, self.share = size, seed, share
        self.parts_before: np.ndarray | None = None  # (n, 2, D) pictures and texts before tuning; see stay_loss

    def __getitem__(self, step: int) -> ClipBatch:
        world, config, share = self.world, self.config, self.share
        rng = np.random.default_rng([self.seed, step, 11])
        rows = rng.choice(world.train, self.size, replace=len(world.train) < self.size)
        neighbours = self._neighbours(rows, rng)
        has_neighbour = neighbours >= 0
        neighbours = np.where(has_neighbour, neighbours, rows)
        anchors = self._side(rows, rng, None)
        paired = self._side(neighbours, rng, rows)
        negatives, there = self._negatives(rows, rng)
        hard = None
        if config.hard_negatives:
            side = self._side(negatives.reshape(-1), rng, None)
            first, last = (bound * config.hard_negatives for bound in (share.start, share.stop))
            hard = self.inputs(side, slice(first, last), None)
        chances = np.random.default_rng([self.seed, step, 12]).random((2, self.size, 4))
        near = share if config.neighbours else slice(0, 0)
        saves = np.diff(world.taste.boards.indptr)[rows] + 1.0
        return ClipBatch(
            "clip", rows, self.inputs(anchors, share, chances[0]), self.inputs(paired, near, chances[1]), hard,
            torch.from_numpy(world.has[rows, 0] & world.has[rows, 1]), torch.from_numpy(has_neighbour),
            torch.from_numpy(world.taste.together(rows[share], neighbours)), torch.from_numpy(world.text_ids[rows]),
            torch.from_numpy(there[share]), torch.from_numpy(_graded(saves, config.graded)), self._before(anchors),
        )  # fmt: skip

    def inputs(self, side: Side, share: slice, augment: np.ndarray | None) -> Inputs:
        """Load a share of a side; `augment` (k, 4) are the chances of the whole side's pixels, None leaves them alone."""
        world, rows, titles = self.world, side.rows[share], side.titles[share]
        picture = torch.from_numpy(world.pictures.rows(rows))
        if augment is not None and picture.dtype == torch.uint8 and len(rows):
            picture = torch.stack([self._augment(*given) for given in zip(picture, augment[share], strict=True)])
        n, used = world.n, np.unique(np.concatenate([*titles, np.zeros(0, np.int64)]))
        owner = np.repeat(np.arange(len(rows)), [len(own) for own in titles])
        position = np.searchsorted(used, np.concatenate([*titles, np.zeros(0, np.int64)]))
        captions = None
        if world.has[:, 3].any():
            captions = torch.from_numpy(world.words.rows(rows + len(world.words) - n))
        return Inputs(
            picture, torch.from_numpy(world.words.rows(rows)), torch.from_numpy(world.words.rows(used + n)),
            torch.from_numpy(np.stack([owner, position])), captions, torch.from_numpy(side.shown[share]),
        )  # fmt: skip

    def _before(self, side: Side) -> torch.Tensor | None:
        if self.parts_before is None:
            return None
        return torch.from_numpy(fuse(self.parts_before[side.rows], side.shown[:, :2], 0.5))

    def _neighbours(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B,) a neighbour of each row, drawn by its visits; -1 where there is none."""
        taste, found = self.world.taste, np.full(len(rows), -1)
        chance = rng.random(len(rows))
        for i, row in enumerate(rows):
            part = slice(taste.indptr[row], taste.indptr[row + 1])
            if part.stop > part.start:
                mass = np.cumsum(taste.visits[part].astype(float) ** self.config.visit_power)
                found[i] = taste.neighbours[part][np.searchsorted(mass, chance[i] * mass[-1], side="right")]
        return found

    def _negatives(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(B, H) hard negatives and whether they are there (elsewhere the row itself stands in)."""
        table = self.world.taste.negatives[rows]
        columns = np.argsort(rng.random(table.shape) + 2.0 * (table < 0), axis=1)[:, : self.config.hard_negatives]
        found = np.take_along_axis(table, columns, 1)
        missing = self.config.hard_negatives - found.shape[1]
        found = np.pad(found, ((0, 0), (0, missing)), constant_values=-1)
        return np.where(found >= 0, found, rows[:, None]), found >= 0

    def _side(self, rows: np.ndarray, rng: np.random.Generator, anchors: np.ndarray | None) -> Side:
        """What each item shows: parts dropped at random; of a neighbour, titles it shares with its anchor hidden.

        A held-out item of a board does not carry its title. So the titles that anchor and neighbour share are hidden
        from the neighbour: all of them half of the time, else each of them half of the time and at least one.
        """
        world, config, k = self.world, self.config, len(rows)
        shown = world.has[rows].copy()
        if not config.fusion:
            shown[:, 2:] = False
        titles = [world.titles[row] if shown[i, 2] else np.zeros(0, np.int64) for i, row in enumerate(rows)]
        if anchors is not None:
            titles = [_hide(own, world.titles[a], rng) for own, a in zip(titles, anchors, strict=True)]
        chance = rng.random((k, 2))
        shown[:, 2] = [len(own) > 0 for own in titles] & (chance[:, 1] >= config.drop_titles)
        titles = [own if shown[i, 2] else own[:0] for i, own in enumerate(titles)]
        if config.fusion:
            whole = shown[:, 0] & shown[:, 1]
            shown[:, 0] &= ~(whole & (chance[:, 0] < config.drop_part / 2))
            shown[:, 1] &= ~(whole & (chance[:, 0] >= 1 - config.drop_part / 2))
        return Side(rows, shown, titles)

    def _augment(self, pixels: torch.Tensor, chances: np.ndarray) -> torch.Tensor:
        """Random crop to a share of the area, back to full size; mirrored now and then. (3, S, S) uint8."""
        area, top, left, mirror = chances
        height, width = pixels.shape[1:]
        side = np.sqrt(1 - area * (1 - self.towers.min_area))
        if side < 1:
            h, w = max(1, round(height * side)), max(1, round(width * side))
            first = round(top * (height - h)), round(left * (width - w))
            pixels = transforms.resized_crop(pixels, *first, h, w, [height, width], antialias=True)
        return pixels.flip(2) if mirror < self.towers.flip else pixels


def _hide(own: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shared = np.flatnonzero(np.isin(own, others))
    everything, chance = rng.random() < 0.5, rng.random(len(shared))
    if not len(shared):
        return own
    hidden = everything | (chance < 0.5)
    hidden[np.argmin(chance)] = True
    return np.delete(own, shared[hidden])


def _graded(saves: np.ndarray, power: float) -> np.ndarray:
    """(B,) float32 weights of mean 1."""
    weights = saves**power
    return (weights / weights.mean()).astype(np.float32)
