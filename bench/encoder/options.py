"""The options of a run, and its inputs: opened and checked against each other before anything is encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.encoder.entrants import Entrant, choose_holdout, open_entrants
from bench.encoder.figures import SCHEMA_VERSION
from bench.inputs import load_sequences
from bench.provenance import command_words
from encoders.embed import fast_dtype
from navigator.contracts import Catalog, UserError, read_manifest
from navigator.contracts.signals import TasteSequence
from navigator.recommend import pick_device


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench encoder`, in its order; see bench.encoder.command."""

    catalog: Path
    encoders: dict[str, str]
    out: Path
    graph: Path | None
    holdout: float | None
    label: str | None
    picture_weight: float
    prefixes: list[int]
    throughput: int
    map_items: int
    sheet_items: int
    batch_size: int
    device: str
    seed: int

    def config(self, fraction: float) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        left_out = ("catalog", "graph", "out", "encoders")
        named = {name: value for name, value in vars(self).items() if name not in left_out}
        pairs = [f"{name}={source}" for name, source in self.encoders.items()]  # a list, because the order counts
        return named | {"encoders": pairs, "holdout": fraction, "schema_version": SCHEMA_VERSION}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "encoder"], vars(self))


@dataclass(frozen=True)
class Inputs:
    """The opened inputs and where to compute."""

    catalog: Catalog
    entrants: list[Entrant]
    sequences: list[TasteSequence] | None
    fraction: float
    fingerprints: dict[str, str]
    device: torch.device
    dtype: torch.dtype


def open_inputs(options: Options) -> Inputs:
    """Raises UserError: a missing or foreign input, or an encoder that was tuned on what would be asked."""
    catalog = Catalog.open(options.catalog)
    device = pick_device(options.device)
    dtype = fast_dtype(device)
    graph, sequences = None, None
    if options.graph is not None:
        sequences = load_sequences(options.graph, catalog)
        graph = read_manifest(options.graph, "graph", "navigator graph build").fingerprint
    entrants = open_entrants(options.encoders, device, dtype)
    if all(e.gate for e in entrants) and options.picture_weight != 0.5:
        raise UserError(
            f"picture_weight {options.picture_weight:g} would not be read: every encoder given has a learned gate; "
            f"leave it out"
        )
    fraction = choose_holdout(entrants, catalog, graph, options.holdout)
    fingerprints = {"catalog": catalog.fingerprint} | ({"graph": graph} if graph else {})
    fingerprints |= {f"encoder {e.name}": e.fingerprint for e in entrants}
    return Inputs(catalog, entrants, sequences, fraction, fingerprints, device, dtype)
