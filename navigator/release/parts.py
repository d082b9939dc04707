"""A release is made: its parts are linked or copied together, opened as a server opens them and asked one request."""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from navigator.contracts import Catalog, ItemVectors, UserError, publish, read_manifest
from navigator.contracts.manifest import content_fingerprint
from navigator.release.history import alone, done, written
from navigator.release.store import KIND, PARTS, check_name, names

_MADE_BY = {"model": "navigator swap", "vectors": "navigator embed", "index": "navigator index"}


@dataclass(frozen=True)
class Sources:
    """Where the parts come from; `encoder` is a folder, a name that open_clip knows, or None."""

    model: Path
    vectors: Path
    index: Path
    catalog: Path
    encoder: str | None = None

    def folders(self) -> dict[str, Path]:
        """Part -> folder, of those that are folders."""
        found = {part: Path(getattr(self, part)) for part in PARTS}
        if self.encoder is not None and Path(self.encoder).is_dir():
            found["encoder"] = Path(self.encoder)
        return found

    def fingerprints(self) -> dict[str, str]:
        """Part -> fingerprint by its manifest; of an encoder folder, of its files.

        Raises:
            UserError: a part is missing, incomplete or of another kind.
        """
        found = {part: read_manifest(getattr(self, part), part, _MADE_BY[part]).fingerprint for part in PARTS}
        if "encoder" in self.folders():
            found["encoder"] = content_fingerprint(Path(str(self.encoder)), "encoder")
        return found | {"catalog": Catalog.open(self.catalog).fingerprint}


@dataclass
class Placed:
    """How the files came into the release."""

    linked: int = 0
    copied: int = 0
    why_copied: set[str] = field(default_factory=set)


def create_release(
    root: Path, sources: Sources, name: str | None = None, note: str = "", copy: bool = False, device: str = "auto"
) -> dict[str, Any]:
    """Make ROOT/NAME, whole or not at all; what was wrong with one that was refused is in the history.

    Args:
        root: folder of releases; made where there is none.
        sources: the parts.
        name: default r1, r2, ...: the next that never was.
        note: for people.
        copy: copy every file, so that nobody who writes a source in place can change the release.
        device: where it is tried.

    Raises:
        UserError: a bad or used name, a missing part, parts that do not belong together, or no answer.
    """
    root.mkdir(parents=True, exist_ok=True)
    with written(root, "create", {"name": name, "note": note}) as entry, alone(root, "create"):
        used = {*names(root), *(line["parameters"]["name"] for line in done(root, "create"))}
        chosen = entry.parameters["name"] = _next(used) if name is None else name
        check_name(chosen)
        if chosen in used or (root / chosen).exists():
            raise UserError(
                f"release {chosen!r} is or was in {root}, and a name means one release; give another --name"
            )
        inputs = entry.artefacts = sources.fingerprints()
        config = {
            "name": chosen, "note": note, "catalog": str(Path(sources.catalog).resolve()),
            "encoder_name": None if "encoder" in sources.folders() else sources.encoder,
        }  # fmt: skip
        with publish(root / chosen, KIND, config, inputs) as work:
            placed = _place(sources, work.path, copy)
            _check_bytes(work.path, inputs)
            tried = try_parts(_placed_in(work.path, sources), device)
            work.metrics = {"linked_files": placed.linked, "copied_files": placed.copied, **tried}
        return {"release": chosen, "out": str(root / chosen), **work.metrics, "why_copied": sorted(placed.why_copied)}


def try_parts(sources: Sources, device: str = "auto") -> dict[str, Any]:
    """Open the parts as a server does and ask for what goes with the first item.

    Returns:
        items, and catalogue items without a vector, which can never be shown.

    Raises:
        UserError: they do not belong together, or give no answer.
    """
    import numpy as np

    from navigator.pipeline import Pipeline
    from navigator.tower import PatchTower

    store, catalog = ItemVectors.open(sources.vectors), Catalog.open(sources.catalog)
    strange = next((item for item in store.ids if item not in catalog.item_index), None)
    if strange is not None:
        raise UserError(
            f"vectors {sources.vectors} hold item {strange!r}, which catalogue {sources.catalog} lacks; embed this catalogue"
        )
    pipeline = Pipeline.open(
        sources.model, sources.vectors, sources.index, sources.catalog, sources.encoder, device=device
    )
    if isinstance(pipeline.recommender.model.model.visual, PatchTower):
        raise UserError(
            f"model {sources.model} reads pictures; a release holds a swapped model, which reads item vectors"
        )
    if not np.isfinite(pipeline.recommender.query_vectors([[0]])).all():
        raise UserError(f"model {sources.model} answers with numbers that are none (NaN); train it again")
    text = pipeline.titles.get(store.ids[0], "") if sources.encoder is not None else ""
    if not pipeline.recommend([store.ids[0]], k=1, text=text).results:
        raise UserError(f"these parts recommend nothing after item {store.ids[0]!r}; check index {sources.index}")
    return {"items": len(store.ids), "items_without_vector": len(catalog.item_ids) - len(store.ids)}


def _next(used: set[str]) -> str:
    numbers = [int(found[1]) for name in used if (found := re.fullmatch(r"r(\d+)", name))]
    return f"r{max(numbers, default=0) + 1}"


def _place(sources: Sources, into: Path, copy: bool) -> Placed:
    placed = Placed()
    for part, folder in sources.folders().items():
        shutil.rmtree(into / part, ignore_errors=True)  # of an attempt that was killed
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = into / part / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            _place_file(file.resolve(), target, copy, placed)
    return placed


def _place_file(source: Path, target: Path, copy: bool, placed: Placed) -> None:
    if not copy:
        try:
            target.hardlink_to(source)
            placed.linked += 1
            return
        except OSError as error:  # another file system, one without links, or a file of somebody else's
            placed.why_copied.add(str(error.strerror))
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(
            f"{source} cannot be copied to {target} ({error.strerror}); make room or give another ROOT"
        ) from error
    placed.copied += 1


def _check_bytes(into: Path, inputs: dict[str, str]) -> None:
    """Every part is what its fingerprint says, and was not replaced by another halfway through."""
    for part in (part for part in inputs if (into / part).is_dir()):
        if content_fingerprint(into / part, part) != inputs[part]:
            raise UserError(
                f"the files of the {part} are not those of its fingerprint {inputs[part]}: they were changed after it was "
                "made, or it was replaced just now; make it again, or run the command again"
            )


def _placed_in(work: Path, sources: Sources) -> Sources:
    encoder = str(work / "encoder") if "encoder" in sources.folders() else sources.encoder
    return Sources(work / "model", work / "vectors", work / "index", sources.catalog, encoder)
