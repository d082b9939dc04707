"""One tuning run: open what it reads, train, export."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from encoders.embed import fast_dtype
from encoders.load import load_encoder
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import digest
from train.clip.config import ClipConfig, TowerConfig
from train.clip.draw import ClipBatch, Drawer
from train.clip.export import card, export
from train.clip.objective import ClipObjective
from train.clip.pictures import open_pictures
from train.clip.towers import Towers
from train.clip.valid import Validation, parts_before, starting_basis
from train.clip.words import Words
from train.clip.world import ClipWorld, Taste, Texts, parts_present, split_items
from train.loop import LoopConfig, training_loop


class Tuning:
    """Everything opened; `train`, then `export`."""

    def __init__(
        self, accelerator: Accelerator, catalog: Catalog, taste_graph: Path | None, encoder: str, holdout: float,
        valid: float, cache: Path | None, towers: TowerConfig, objective: ClipConfig, loop: LoopConfig, work: Path,
    ):  # fmt: skip
        self.accelerator, self.loop, self.work = accelerator, loop, work
        self.source, self.tower_config = encoder, towers
        opened = TasteGraph.open(taste_graph, catalog) if taste_graph else None
        if opened is None:
            objective = replace(objective, neighbours=0.0, hard_negatives=0)
        if not objective.neighbours:
            objective = replace(objective, hard_negatives=0)
        device = accelerator.device
        self.encoder = load_encoder(encoder, device, fast_dtype(device), towers.image_size or None)
        self.towers = Towers(self.encoder.model, towers.picture_layers, towers.text_layers)
        self.objective = ClipObjective(self.encoder, self.towers, objective)  # refuses before anything is computed
        self.cache = work / "cache" if cache is None else cache / _cache_key(catalog, self.encoder, opened)
        self.cache_is_own = cache is None
        with accelerator.main_process_first():
            self.world = self._world(catalog, opened, holdout, valid)
        each = loop.batch_size // accelerator.num_processes
        share = slice(accelerator.process_index * each, (accelerator.process_index + 1) * each)
        self.drawer = Drawer(self.world, objective, towers, loop.batch_size, loop.seed, share)

    def train(self) -> dict[str, Any]:
        """Turn the space into its principal directions, train, leave the best weights in the objective."""
        self.objective.eval()  # BatchNorm statistics and dropout stay as they are in use
        rotated = self.objective.rotate(starting_basis(self.objective, self.drawer, self.world).to(self.encoder.device))
        if self.objective.config.stay:
            self.drawer.parts_before = parts_before(self.objective, self.drawer)
        validation = Validation(self.objective, self.drawer)
        batches = _InOrder(self.drawer, self.loop.steps, self.tower_config.workers, self.towers)
        figures = training_loop(
            self.accelerator, self.objective, self.objective.parts(), batches, self.loop, self.work,
            validation if validation else None,
        )  # fmt: skip
        world = self.world
        return figures | {
            "train_items": len(world.train), "valid_items": len(world.valid), "pairs": len(world.taste.neighbours),
            "seen_valid_queries": len(validation.seen), "unseen_valid_queries": len(validation.unseen),
            "pictures_per_s": round(self._pictures(figures["steps"]) / max(figures["train_seconds"], 1e-9), 1),
            "rotated": rotated, "dim": self.encoder.dim, "pictures": int(world.pictures.has.sum()),
        }  # fmt: skip

    def _pictures(self, steps: int) -> int:
        """Pictures (or their features) that training steps read, over all processes."""
        config = self.objective.config
        sides = 1 + (1 + config.hard_negatives if config.neighbours else 0)
        return steps * self.loop.batch_size * sides

    def export(self, encoder: str, config: dict[str, Any], metrics: dict[str, Any]) -> None:
        """Write the encoder's folder into the work folder, and drop what only training needed."""
        export(self.objective, self.source, self.tower_config.image_size, self.work)
        chosen = {name: config[name] for name in ("objective", "towers", "loop")}
        told = metrics | metrics.get("throughput", {}) | {"holdout": config["holdout"], "valid": config["valid"]}
        counts = {k: v for k, v in told.items() if not isinstance(v, dict)}
        figures = {k: v for k, v in metrics.items() if isinstance(v, dict) and k != "throughput"}
        (self.work / "README.md").write_text(card(encoder, chosen, counts, figures, self.objective.config.fusion))
        for leftover in ("state.safetensors", "best.safetensors"):
            (self.work / leftover).unlink(missing_ok=True)
        if self.cache_is_own:
            shutil.rmtree(self.cache, ignore_errors=True)

    def _world(self, catalog: Catalog, opened: TasteGraph | None, holdout: float, valid: float) -> ClipWorld:
        config = self.tower_config
        texts = Texts.of(catalog, opened.sequences if opened else [])
        workers = max(config.workers, 1)
        pictures = open_pictures(catalog, self.encoder, self.towers, self.cache, config.pixels_gb, workers)
        words = Words(self.encoder, self.towers, texts.all, self.cache)
        has = parts_present(texts, pictures.has)
        train, chosen = split_items(catalog, opened, holdout, valid)
        usable = has[:, :2].any(1)
        taste = Taste.of(opened, len(has), train & usable)
        folded = [text.strip().casefold() for text in texts.items]
        text_ids = np.unique(np.array(folded, dtype=object), return_inverse=True)[1]
        return ClipWorld(
            pictures, words, has, texts.of_item, text_ids, np.flatnonzero(train & usable), np.flatnonzero(chosen), taste
        )  # fmt: skip


class _Told(torch.utils.data.Dataset):
    """The drawer, with what cannot be drawn as an answer: raised in a worker process it would arrive as a traceback."""

    def __init__(self, drawer: Drawer):
        self.drawer = drawer

    def __getitem__(self, step: int) -> ClipBatch | UserError:
        try:
            return self.drawer[step]
        except UserError as error:
            return error


class _InOrder:
    """Step -> its batch, prepared ahead in worker processes; steps are asked for one after another."""

    def __init__(self, drawer: Drawer, steps: int, workers: int, towers: Towers):
        features_only = towers.locked["picture"]
        self.drawer, self.steps, self.workers = drawer, steps, 0 if features_only else workers
        self.batches: Any = None

    def __call__(self, step: int) -> ClipBatch:
        if self.batches is None:
            self.batches = iter(torch.utils.data.DataLoader(
                _Told(self.drawer), batch_size=None, sampler=range(step, self.steps), num_workers=self.workers,
                prefetch_factor=2 if self.workers else None,
            ))  # fmt: skip
        batch = next(self.batches)
        if isinstance(batch, UserError):
            raise batch
        return batch


def _cache_key(catalog: Catalog, encoder: Any, opened: TasteGraph | None) -> str:
    made_by = [encoder.fingerprint, encoder.size, encoder.autocast]
    return digest([catalog.fingerprint, made_by, opened.fingerprint if opened else None])
