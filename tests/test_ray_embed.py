"""The Ray engine: the same shards by other processes, the same bits."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import encoders.embed
import encoders.shards
from navigator.contracts import UserError, read_manifest
from navigator.encode_commands import embed

_SPEC = importlib.util.spec_from_file_location("embed_worlds", Path(__file__).with_name("test_embed.py"))
assert _SPEC is not None and _SPEC.loader is not None
worlds = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(worlds)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worlds.worlds.tiny_encoder(tmp_path_factory.mktemp("ray") / "encoder")


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(encoders.embed, "SHARD", 3)
    return worlds.write_catalog(tmp_path / "catalog", worlds.ITEMS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def run(catalog: Path, out: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    return embed(catalog, out, str(folder), **{"batch_size": 2, "device": "cpu", "workers": 1} | changes)


def test_ray_gives_the_same_bits_also_after_an_interruption(
    cluster: None, catalog: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    taste_graph = worlds.write_graph(tmp_path / "g", catalog, {"flags": ["both", "words"], "all": ["both", "item3"]})
    local = run(catalog, tmp_path / "local", folder, graph=taste_graph)
    true_write = encoders.shards._write

    def write(job: Any, shard: Any) -> None:
        if shard.number == 1:
            raise KeyboardInterrupt
        true_write(job, shard)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoders.shards, "_write", write)
        run(catalog, tmp_path / "ray", folder, graph=taste_graph)  # this process embeds shard 0, Ray the other three
    monkeypatch.setattr(encoders.shards, "_encode", None)  # nothing is encoded in this process from here on
    result = run(catalog, tmp_path / "ray", folder, graph=taste_graph, engine="ray", actors=2)
    for file in ("vectors.safetensors", "ids.parquet"):
        assert (tmp_path / "ray" / file).read_bytes() == (tmp_path / "local" / file).read_bytes()
    assert {**result, "out": "", "seconds": 0} == {**local, "out": "", "seconds": 0}
    assert (
        read_manifest(tmp_path / "ray", "vectors", "").fingerprint
        == read_manifest(tmp_path / "local", "vectors", "").fingerprint
    )
    assert run(catalog, tmp_path / "ray", folder, graph=taste_graph)["unchanged"] is True


def test_an_actor_hands_back_what_is_wrong_with_the_input(
    catalog: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An error inside Ray would come out wrapped in Ray's own; so the actor returns it and the driver raises it."""
    import encoders.ray_embed

    def one_process(job: Any, numbers: list[int], actors: int) -> Iterator[int]:
        monkeypatch.setattr(encoders.ray_embed, "_map", lambda job, numbers, actors: map(actor, numbers))
        made = encoders.ray_embed.ShardActor(job)

        def actor(number: int) -> dict[str, Any]:
            return made({"shard": number})

        return true_engine(job, numbers, actors)

    true_engine = encoders.ray_embed.embed_with_ray
    monkeypatch.setattr(encoders.ray_embed, "embed_with_ray", one_process)
    with pytest.raises(UserError, match=r"^the picture of item 'broken' cannot be read"):
        run(catalog, tmp_path / "v", folder, engine="ray", strict=True)


def test_without_ray_the_extra_is_named(catalog: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'Ray is not installed; run `pip install "navigator\[ray\]"`') as caught:
        run(catalog, tmp_path / "v", folder, engine="ray")
    assert "\n" not in str(caught.value) and not (tmp_path / "v").exists()
