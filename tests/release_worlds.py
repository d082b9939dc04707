"""Releases whose parts are a few bytes, and shadow reports about them: all that promoting looks at. And real tiny parts."""

import datetime
import json
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from navigator.contracts import Catalog, publish
from navigator.contracts.shadow import KIND, RuleResult, ShadowSide, ShadowVerdict
from navigator.contracts.vectors import normalise, write_vectors
from navigator.release.live import promote_release
from navigator.release.parts import Sources
from navigator.release.store import PARTS, Release


def made_release(root: Path, name: str) -> Release:
    """ROOT/NAME of parts that hold their names; `create_release` would refuse to make it, nothing else cares."""
    root.mkdir(parents=True, exist_ok=True)
    inputs = {}
    for part in PARTS:
        with publish(root / "parts" / name / part, part, {"encoder": "enc"}, {}) as work:
            (work.path / "data").write_text(f"{part} of {name}")
    with publish(
        root / name, "release", {"name": name, "note": "", "catalog": "c", "encoder_name": None}, inputs
    ) as work:
        for part in PARTS:
            source = root / "parts" / name / part
            source.rename(work.path / part)
            inputs[part] = json.loads((work.path / part / "manifest.json").read_text())["fingerprint"]
    return Release.read(root, name)


def shadow_report(
    out: Path, old: Release, new: Release, verdict: Literal["pass", "fail"] = "pass", days_old: float = 0.0
) -> Path:
    """What `navigator-bench shadow` writes about two releases, as far as promoting reads it."""

    def side(release: Release) -> ShadowSide:
        return ShadowSide(
            source=release.name, fingerprints={part: release.parts[part] for part in ("model", "vectors")}
        )

    at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days_old)
    rule = RuleResult(metric="rbo", value=0.9 if verdict == "pass" else 0.1, at_least=0.5, reason="r", verdict=verdict)
    said = ShadowVerdict(
        verdict=verdict, old=side(old), new=side(new), requests=1, traffic="t", thresholds="h", rules=[rule],
        created_at=at.isoformat(),
    )  # fmt: skip
    with publish(out, KIND, {"days": days_old}, {}) as work:
        (work.path / "report.json").write_text(json.dumps({"verdict": said.model_dump()}))
    return out


@pytest.fixture(scope="session")
def three_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of r1, which is live, r2 and r3; nobody writes to it."""
    root = tmp_path_factory.mktemp("three") / "root"
    for name in ("r1", "r2", "r3"):
        made_release(root, name)
    promote_release(root, "r1")
    return root


@pytest.fixture
def root(three_releases: Path, tmp_path: Path) -> Path:
    """The same, one's own."""
    return shutil.copytree(three_releases, tmp_path / "root")


@pytest.fixture
def made_of(refined: Path, project: Path, tmp_path: Path) -> Sources:
    """Parts that belong together, one's own."""
    for part in ("model", "vectors", "index"):
        shutil.copytree(refined / part, tmp_path / part)
    return Sources(tmp_path / "model", tmp_path / "vectors", tmp_path / "index", project / "catalog")


def other_vectors(out: Path, catalog: Path, encoder: str = "mixed", dim: int = 8) -> Path:
    """A store of other numbers; of the same recipe unless told otherwise."""
    opened = Catalog.open(catalog)
    config = {"encoder": encoder, "normalised": True, "content_encoder": "enc", "content_dim": 6, "dim": 2}
    with publish(out, "vectors", config, {"catalog": opened.fingerprint}) as work:
        values = np.random.default_rng(3).normal(size=(len(opened.item_ids), dim))
        write_vectors(work.path, opened.item_ids, normalise(values).astype(np.float32))
    return out
