"""Training of SASRec: one of three losses over windows of the sequences, early stopping by whoever asks.

The paper's loss is binary cross-entropy against one item drawn at random; A. Klenitskiy and A. Vasilev, Turning Dross Into
Gold Loss (arXiv 2309.07602), show that cross-entropy over all items is far stronger, and that a thousand or so of sampled
ones come close, so these are values of the bench's grid and the rival is no straw man. Every position of a history is a
target; the windows begin elsewhere in each epoch.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from bench.systems.sasrec import Sasrec, SasrecSystem
from bench.systems.sasrec_draws import negatives, windows
from navigator.recommend import pick_device, pick_dtype

Loss = Literal["bce", "sampled", "full"]
SAMPLED = 1024  # items drawn for a step of the sampled loss, shared by its positions
_CELLS = 1 << 24  # logits held at once with the full loss


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        loss: bce (one negative a position), sampled (softmax over SAMPLED items) or full (over all).
        length: items of a window.
        batch: windows of a step.
    """

    dim: int = 64
    dropout: float = 0.2
    loss: Loss = "full"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    length: int = 50
    batch: int = 32
    blocks: int = 2
    heads: int = 1


@dataclass(frozen=True)
class Saves:
    """What is trained on.

    Attributes:
        rows: items of every owner, oldest first.
        known: (n_items,) bool, items that may be read and found; others are left out of the rows.
        ordered: false for boards, whose items are shuffled anew in each epoch.
        vectors: (n_items, D) float32 unit rows to project, or None for a free table.
    """

    rows: Sequence[Sequence[int]]
    known: np.ndarray
    ordered: bool = True
    vectors: np.ndarray | None = None


@dataclass(frozen=True)
class Stop:
    """When training ends: after `epochs`, after `seconds`, or when `patience` epochs brought nothing better."""

    epochs: int
    seconds: float
    patience: int = 0


def train_sasrec(
    saves: Saves, recipe: Recipe, seed: int, stop: Stop, valid: Callable[[SasrecSystem], float] | None = None,
    device: str = "cpu",
) -> tuple[SasrecSystem, int]:  # fmt: skip
    """A trained network and the epoch it is from.

    Args:
        saves: training saves.
        recipe: shape and optimiser.
        seed: of weights, windows and negatives.
        stop: limits.
        valid: higher is better, asked after every epoch; the best epoch's weights are kept. None keeps the last.
        device: as for navigator.recommend.pick_device; bfloat16 where the hardware multiplies it.
    """
    rng, where = np.random.default_rng(seed), pick_device(device)
    rows = [own for row in saves.rows if len(own := np.array([i for i in row if saves.known[i]], np.int64)) > 1]
    taken = np.unique(np.concatenate([n * len(saves.known) + own for n, own in enumerate(rows)]))
    begun, best, kept, chosen = time.perf_counter(), -np.inf, None, 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        system = _untrained(saves, recipe, where)
        optimizer = torch.optim.AdamW(
            system.model.parameters(), recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
        )
        bar = tqdm(range(1, stop.epochs + 1), desc=f"sasrec {recipe.loss} {recipe.dim}", unit="epoch", leave=False)
        for epoch in bar:
            _epoch(system.model, optimizer, windows(rows, recipe.length, saves.ordered, rng), recipe, rng, taken)
            if valid is None:
                chosen = epoch
            elif (score := valid(system)) > best:
                best, chosen = score, epoch
                kept = {name: value.clone() for name, value in system.model.state_dict().items()}
            bar.set_postfix(best=f"{best:.4f}", at=chosen)
            if time.perf_counter() - begun > stop.seconds or (stop.patience and epoch - chosen >= stop.patience):
                break
    if kept is not None:
        system.model.load_state_dict(kept)
    return system, chosen


def _untrained(saves: Saves, recipe: Recipe, device: torch.device) -> SasrecSystem:
    vectors = None if saves.vectors is None else torch.from_numpy(saves.vectors)
    n_items = len(saves.known)
    model = Sasrec(n_items, recipe.length, recipe.dim, recipe.blocks, recipe.heads, recipe.dropout, vectors)
    return SasrecSystem(model.to(device), saves.known)


def _epoch(
    model: Sasrec, optimizer: torch.optim.Optimizer, cut: tuple[np.ndarray, np.ndarray], recipe: Recipe,
    rng: np.random.Generator, taken: np.ndarray,
) -> None:  # fmt: skip
    model.train()
    device, n_items = model.weight.device, model.n_items
    dtype = pick_dtype("auto", device)
    step = max(1, min(recipe.batch, _CELLS // (n_items * recipe.length))) if recipe.loss == "full" else recipe.batch
    for start in range(0, len(cut[0]), step):
        items, owner = (part[start : start + step] for part in cut)
        used = items[:, 1:] >= 0
        width = int(used.any(axis=0).sum())
        used, wanted = used[:, :width], items[:, 1 : width + 1]
        read, mask = (torch.from_numpy(a).to(device) for a in (np.maximum(items[:, :width], 0), used))
        owners = np.broadcast_to(owner[:, None], used.shape)[used]
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            table = model.table()
            loss = _loss(model(read, table)[mask], table, wanted[used], owners, recipe.loss, rng, taken)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _loss(
    states: torch.Tensor, table: torch.Tensor, wanted: np.ndarray, owners: np.ndarray, kind: Loss,
    rng: np.random.Generator, taken: np.ndarray,
) -> torch.Tensor:  # fmt: skip
    """Of (m, dim) states, the (m,) items that came next and whose they are; see Recipe.loss."""
    targets = torch.from_numpy(wanted).to(states.device)
    if kind == "full":
        return functional.cross_entropy((states @ table.T).float(), targets)
    right = (states * functional.embedding(targets, table)).sum(-1).float()
    if kind == "bce":
        others = torch.from_numpy(negatives(owners, len(table), taken, rng)).to(states.device)
        wrong = (states * functional.embedding(others, table)).sum(-1).float()
        return functional.softplus(-right).mean() + functional.softplus(wrong).mean()
    others = torch.from_numpy(rng.integers(0, len(table), SAMPLED)).to(states.device)
    wrong = (states @ functional.embedding(others, table).T).float().masked_fill(others == targets[:, None], -torch.inf)
    return functional.softplus(torch.logsumexp(wrong, 1) - right).mean()
