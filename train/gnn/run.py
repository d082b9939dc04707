"""One training run of the graph encoder: open what it reads, train, export."""

import os
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import save_file

from graph.store import TasteGraph
from navigator.contracts import ItemVectors
from train.gnn.config import GnnConfig
from train.gnn.draw import Drawer
from train.gnn.export import export
from train.gnn.lightgcn import LightGCN
from train.gnn.neighbours import sample_neighbourhoods
from train.gnn.objective import GnnObjective
from train.gnn.omnisage import OmniSage
from train.gnn.valid import Validation
from train.gnn.world import open_world
from train.loop import LoopConfig, training_loop


class Training:
    """Everything opened; `train`, then `export`."""

    def __init__(
        self, accelerator: Accelerator, taste_graph: TasteGraph, content: ItemVectors | None, objective: GnnConfig,
        loop: LoopConfig, valid_queries: int, work: Path,
    ):  # fmt: skip
        self.accelerator, self.taste_graph, self.loop, self.work = accelerator, taste_graph, loop, work
        self.content_encoder = content.encoder if content else None
        self.window = objective.window
        self.world = open_world(taste_graph, content, objective.hard_negatives > 0, valid_queries)
        self.drawer = Drawer(self.world, objective, loop.batch_size, loop.steps, loop.seed)
        if objective.encoder == "lightgcn":
            model: Any = LightGCN(self.world, objective.dim, objective.start, loop.seed)
        else:
            assert self.world.content is not None
            neighbourhoods = None if objective.neighbours == "none" else sample_neighbourhoods(
                taste_graph, self.world.owners, self.drawer.fold_of_owner, self.world.content, objective, loop.seed,
                os.cpu_count() or 1,
            )  # fmt: skip
            model = OmniSage(self.world.content, neighbourhoods, objective, loop.seed)
        self.model = model.to(accelerator.device)
        self.objective = GnnObjective(self.model, objective.temperature)

    def train(self) -> dict[str, Any]:
        """Train; the best validated weights stay in the model."""
        world = self.world
        validation = Validation(self.model, world.queries, self.window) if world.queries else None
        figures = training_loop(
            self.accelerator, self.objective, self.model.parts(), self.drawer, self.loop, self.work, validation
        )
        return figures | {
            "owners": int((world.owners.sizes >= 2).sum()), "saves": len(world.owners.items),
            "cold_items": int((world.degree == 0).sum()), "valid_queries": len(world.queries),
        }  # fmt: skip

    def export(self, config: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
        """Write weights and vector stores into the work folder, and drop what only training needed."""
        weights = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        save_file(weights, self.work / "model.safetensors")
        for leftover in ("state.safetensors", "best.safetensors"):
            (self.work / leftover).unlink(missing_ok=True)
        counts = export(
            self.model, self.world, self.taste_graph.sequences, self.taste_graph.catalog.item_ids, self.work, config,
            inputs, self.content_encoder, self.loop.seed,
        )  # fmt: skip
        return {"vectors": counts}
