"""What an artefact was made from, found in the folders beside it by its fingerprint."""

import json
import os
from pathlib import Path

from navigator.contracts import UserError
from navigator.contracts.manifest import read_manifest


def vectors_of(index: Path) -> Path:
    """The vector store that an index was built from, found beside it; UserError where it is not there."""
    built_from = read_manifest(index, "index", f"navigator index VECTORS --out {index}").inputs.get("vectors", "")
    found = find_vectors(index, built_from)
    if found is None:
        raise UserError(
            f"beside index {index} there are no vectors {built_from} that it was built from; give --vectors"
        )
    return found


def encoder_of(vectors: Path) -> str:
    """The name of the encoder that made the content of a store, as the store remembers it.

    Refined vectors name the store they were made from by its fingerprint; it is looked for beside them.

    Raises:
        UserError: it is not remembered, or is a folder that is no longer there.
    """
    manifest = read_manifest(vectors, "vectors", f"navigator embed CATALOG --out {vectors}")
    name = manifest.config.get("encoder_name")
    if name is None and (source := find_vectors(vectors, manifest.inputs.get("vectors", ""))) is not None:
        name = read_manifest(source, "vectors", "navigator embed").config.get("encoder_name")
    if name is None:
        raise UserError(f"vectors {vectors} do not say which encoder made them; give --encoder, or --encoder none")
    beside = vectors.resolve().parent / Path(name).name
    looks_local = os.sep in name and not name.startswith("hf-hub:")
    if looks_local and not Path(name).is_dir() and beside.is_dir():
        return str(beside)  # the whole folder of artefacts was moved
    return name


def find_vectors(index: Path, fingerprint: str) -> Path | None:
    """The vector store beside an index, or below its neighbours, that the index was built from."""
    for manifest in sorted(index.resolve().parent.glob("*/manifest.json")):
        try:
            said = json.loads(manifest.read_text())
        except (OSError, ValueError):
            continue
        if said.get("kind") == "vectors" and said.get("fingerprint") == fingerprint:
            return manifest.parent
    return None
