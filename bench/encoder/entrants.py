"""The encoders of a run: opened by name, and refused where their figures would be of what they were tuned on."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from encoders.fusion import GatedFusion, load_gate
from encoders.load import Encoder, folder_dim, folder_fingerprint, load_encoder, local_folder
from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import MANIFEST, Manifest, read_manifest
from navigator.encode_commands import resolve_encoder

TITLES = "+titles"
DEFAULT_HOLDOUT = 0.1


@dataclass(frozen=True)
class Entrant:
    """One encoder.

    Attributes:
        name: in the report.
        source: as given; `resolved` is what load_encoder knows.
        loaded: kept for a model name, whose random weights would be others at the next load; None for folders.
        tuned: the manifest of an encoder that was tuned on a catalogue; None for any other.
    """

    name: str
    source: str
    resolved: str
    fingerprint: str
    dim: int
    gate: GatedFusion | None
    loaded: Encoder | None
    tuned: Manifest | None

    @property
    def holdout(self) -> float | None:
        """The share of the items it was tuned without, 0 when its manifest names none; None when it was not tuned."""
        return None if self.tuned is None else float(self.tuned.config.get("holdout") or 0.0)

    def open(self, device: torch.device, dtype: torch.dtype) -> Encoder:
        """The encoder, ready to encode."""
        return self.loaded or load_encoder(self.resolved, device, dtype)


def open_entrants(encoders: dict[str, str], device: torch.device, dtype: torch.dtype) -> list[Entrant]:
    """Find every encoder, in the order given; folders are not loaded yet.

    Raises:
        UserError: none given, a bad name, an unknown encoder.
    """
    if not encoders:
        raise UserError("no encoder given; name at least one, such as --encoders untuned=embedded,tuned=runs/x/encoder")
    bad = next((name for name in encoders if not re.fullmatch(r"[\w.-]+(@[\w.-]+)?", name)), None)
    if bad is not None:
        raise UserError(
            f"encoder name {bad!r}: allowed are letters, digits, dot, dash and underscore, and one @ before the number of a run"
        )
    return [_open(name, source, device, dtype) for name, source in encoders.items()]


def choose_holdout(entrants: list[Entrant], catalog: Catalog, graph: str | None, wanted: float | None) -> float:
    """The share of held-out items that every encoder was tuned without.

    Args:
        entrants: all of them.
        catalog: what is measured on; `graph` is the fingerprint of the taste graph, None without.
        wanted: given on the command line; default is the smallest share that a tuned encoder left out.

    Raises:
        UserError: an encoder was tuned on held-out items, on another catalogue or on another graph.
    """
    tuned = [e for e in entrants if e.tuned is not None]
    shares = [share for e in tuned if (share := e.holdout)]
    fraction = wanted if wanted is not None else min(shares, default=DEFAULT_HOLDOUT)
    if not 0 < fraction < 1:
        raise UserError(f"holdout {fraction}: allowed is a share of the items between 0 and 1, such as 0.1")
    for entrant in tuned:
        _refuse(entrant, catalog, graph, fraction)
    return fraction


def _open(name: str, source: str, device: torch.device, dtype: torch.dtype) -> Entrant:
    resolved = resolve_encoder(source)
    folder = local_folder(resolved)
    if folder is None:
        loaded = load_encoder(resolved, device, dtype)
        return Entrant(name, source, resolved, loaded.fingerprint, loaded.dim, loaded.gate, loaded, None)
    if not folder.is_dir():
        raise UserError(f"encoder {name}={source}: folder {folder} does not exist")
    dim = folder_dim(folder)
    return Entrant(
        name, source, resolved, folder_fingerprint(folder), dim, load_gate(folder), None, _tuned(folder)
    )  # fmt: skip


def _tuned(folder: Path) -> Manifest | None:
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_manifest(folder, "encoder", "accelerate launch -m train.clip")
    return manifest if "catalog" in manifest.inputs or "holdout" in manifest.config else None


def _refuse(entrant: Entrant, catalog: Catalog, graph: str | None, fraction: float) -> None:
    manifest = entrant.tuned
    assert manifest is not None
    for what, mine in (("catalog", catalog.fingerprint), ("graph", graph)):
        theirs = manifest.inputs.get(what)
        if theirs is not None and mine is not None and theirs != mine:
            raise UserError(
                f"encoder {entrant.name} was tuned on {what} {theirs}, but {mine} is given: what it held out is not "
                f"what would be asked; give the {what} it was tuned on"
            )
    if (entrant.holdout or 0.0) < fraction:
        raise UserError(
            f"encoder {entrant.name} was tuned with holdout {entrant.holdout:g}, smaller than {fraction:g}: its figures "
            f"would be of training data; tune it with --holdout {fraction:g}, or measure with a smaller --holdout"
        )
