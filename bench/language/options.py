"""The options of a run, and its inputs: opened and checked against each other before any model is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor

from bench.language.command import STOCK
from bench.language.descriptions import Descriptions, choose_descriptions
from bench.language.figures import SCHEMA_VERSION
from bench.provenance import command_words
from navigator.contracts import Catalog, ItemVectors, UserError, read_manifest
from navigator.contracts.manifest import MANIFEST, content_fingerprint, digest
from navigator.encode_commands import resolve_backbone
from navigator.plain_text import plain_digest, plain_paragraphs
from navigator.recommend import pick_device, pick_dtype


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench language`, in its order; see bench.language.command."""

    catalog: Path
    models: dict[str, str]
    vectors: Path
    out: Path
    backbone: str | None
    items: int
    paragraphs: int
    samples: int
    batch_size: int
    device: str
    dtype: str
    seed: int

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        named = {name: value for name, value in vars(self).items() if name not in ("catalog", "vectors", "out")}
        pairs = [f"{name}={folder}" for name, folder in self.models.items()]  # a list, because the order counts
        return named | {"models": pairs, "schema_version": SCHEMA_VERSION}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "language"], vars(self))


@dataclass(frozen=True)
class Inputs:
    """What is asked, of what, and where to compute."""

    descriptions: Descriptions
    paragraphs: list[str]
    fingerprints: dict[str, str]
    n_items: int
    device: torch.device
    dtype: torch.dtype


def open_inputs(options: Options) -> Inputs:
    """Raises UserError: a missing or foreign input, or a model that does not read these vectors."""
    catalog, store = Catalog.open(options.catalog), ItemVectors.open(options.vectors)
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    fingerprints = {f"model {name}": _check_model(Path(folder), store) for name, folder in options.models.items()}
    if options.backbone is not None:
        fingerprints[STOCK] = _backbone_fingerprint(options.backbone)
    descriptions = choose_descriptions(catalog, options.items, options.seed)
    store.rows_of(descriptions.ids)
    paragraphs = plain_paragraphs(options.paragraphs, options.seed)
    assert store.manifest is not None
    fingerprints |= {"catalog": catalog.fingerprint, "vectors": store.manifest.fingerprint}
    fingerprints["plain text"] = plain_digest(paragraphs)
    return Inputs(descriptions, paragraphs, fingerprints, len(catalog.item_ids), device, dtype)


def _check_model(folder: Path, store: ItemVectors) -> str:
    """Fingerprint of a swapped model that reads vectors like these; loads its processor alone."""
    manifest = read_manifest(folder, "model", "navigator swap")
    if manifest.config.get("native"):
        raise UserError(f"{folder} is a native model, which reads pictures; the language check shows items by vector")
    AutoProcessor.from_pretrained(folder).attach(store)
    return manifest.fingerprint


def _backbone_fingerprint(name: str) -> str:
    source = Path(resolve_backbone(name))
    if (source / MANIFEST).is_file():
        return read_manifest(source, "backbone", "navigator fetch weights").fingerprint
    return content_fingerprint(source, "backbone") if source.is_dir() else digest(name)
