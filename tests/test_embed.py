"""Item vectors from a tiny catalogue: fused as stated, bit-equal after an interruption, nothing dropped in silence."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encoders.embed
from encoders.load import load_encoder
from navigator.contracts import ItemVectors, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.encode_commands import embed

_SPEC = importlib.util.spec_from_file_location("encoder_worlds", Path(__file__).with_name("test_encoders.py"))
assert _SPEC is not None and _SPEC.loader is not None
worlds = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(worlds)

RED, BLUE = worlds.png((250, 10, 10)), worlds.png((10, 10, 250))
ITEMS: list[tuple[str, str, bytes | None]] = [
    ("both", "a red flag", RED),
    ("words", "a blue flag", None),
    ("picture", "", BLUE),
    ("broken", "a torn flag", b"not a picture"),
    ("nothing", " ", None),
    *[(f"item{i}", f"number {i}", worlds.png((i * 30, 90, 90))) for i in range(6)],
]


def write_catalog(out: Path, items: list[tuple[str, str, bytes | None]], row_group: int = 4) -> Path:
    with publish(out, "catalog", {"n": len(items)}, {}) as work:
        rows = [
            {"item_id": i, "title": text, "description": "", "keywords": [], "text": text,
             "image": {"bytes": data, "path": None}}
            for i, text, data in items
        ]  # fmt: skip
        for name, schema in TABLES.items():
            table = pa.Table.from_pylist(rows if name == "items" else [], schema=schema)
            pq.write_table(table, work.path / f"{name}.parquet", row_group_size=row_group)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worlds.tiny_encoder(tmp_path_factory.mktemp("embed") / "encoder")


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(encoders.embed, "SHARD", 3)
    return write_catalog(tmp_path / "catalog", ITEMS)


def run(catalog: Path, out: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    return embed(catalog, out, **{"encoder": str(folder), "batch_size": 2, "device": "cpu"} | changes)


def test_one_fused_unit_vector_an_item_in_catalogue_order(catalog: Path, folder: Path, tmp_path: Path):
    result = run(catalog, tmp_path / "v", folder, picture_weight=0.3)
    vectors = ItemVectors.open(tmp_path / "v", encoder=result["encoder"])
    assert vectors.ids == [i for i, _, _ in ITEMS] and vectors.matrix.dtype == np.float16
    assert np.allclose(np.linalg.norm(vectors.float32(), axis=1), 1, atol=2e-3)
    encoder = load_encoder(str(folder), dtype=encoders.embed.fast_dtype(encoders.embed.torch.device("cpu")))
    picture, text = encoder.encode_pictures([RED])[0], encoder.encode_texts(["a red flag"])[0]
    mixed = 0.3 * picture + 0.7 * text
    assert np.allclose(vectors.float32()[0], mixed / np.linalg.norm(mixed), atol=0.02)


def test_what_is_missing_is_counted_and_the_other_part_used(catalog: Path, folder: Path, tmp_path: Path):
    result = run(catalog, tmp_path / "v", folder)
    rows = dict(zip([i for i, _, _ in ITEMS], ItemVectors.open(tmp_path / "v").float32(), strict=True))
    encoder = load_encoder(str(folder), dtype=encoders.embed.fast_dtype(encoders.embed.torch.device("cpu")))
    words, torn, empty = encoder.encode_texts(["a blue flag", "a torn flag", " "])
    for name, wanted in (
        ("words", words),
        ("broken", torn),
        ("nothing", empty),
        ("picture", encoder.encode_pictures([BLUE])[0]),
    ):
        assert np.allclose(rows[name], wanted, atol=0.02), name
    assert (result["items"], result["no_picture"], result["no_text"], result["neither"]) == (11, 2, 2, 1)
    assert result["unreadable_pictures"] == 1 and "broken" in result["unreadable_first"]
    assert result["neither_first"] == ["nothing"]
    assert ItemVectors.open(tmp_path / "v").manifest.metrics["unreadable_pictures"] == 1  # type: ignore[union-attr]


def test_strict_stops_at_an_unreadable_picture(catalog: Path, folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="the picture of item 'broken' cannot be read"):
        run(catalog, tmp_path / "v", folder, strict=True)
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("stop_at", [1, 4, 6])
def test_an_interrupted_run_resumes_to_the_same_bits(
    catalog: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
):
    run(catalog, tmp_path / "whole", folder)
    true_step, calls = encoders.embed._embed_batch, []

    def counting(*arguments: Any) -> np.ndarray:
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return true_step(*arguments)

    monkeypatch.setattr(encoders.embed, "_embed_batch", counting)
    with pytest.raises(KeyboardInterrupt):
        run(catalog, tmp_path / "v", folder)
    assert not (tmp_path / "v").exists()
    done = len(list((tmp_path / "v.work" / "shards").glob("*.json")))
    assert done == (stop_at - 1) // 2  # two batches a shard of three items
    first, stop_at = len(calls), 0
    resumed = run(catalog, tmp_path / "v", folder)
    assert len(calls) - first == 7 - 2 * done, "finished shards are not computed again"
    for name in ("vectors.safetensors", "ids.parquet"):
        assert (tmp_path / "v" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert resumed["items"] == 11 and resumed["unreadable_pictures"] == 1
    assert not (tmp_path / "v" / "shards").exists()


def test_an_interruption_right_after_the_merge_is_resumed(
    catalog: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(catalog, tmp_path / "whole", folder)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoders.embed, "shutil", SimpleNamespace(rmtree=killed))
        run(catalog, tmp_path / "v", folder)
    assert (tmp_path / "v.work" / "vectors.safetensors").is_file() and not (tmp_path / "v").exists()
    assert run(catalog, tmp_path / "v", folder)["items"] == 11
    assert (tmp_path / "v/vectors.safetensors").read_bytes() == (tmp_path / "whole/vectors.safetensors").read_bytes()


def test_a_current_output_is_not_made_again_and_another_weight_is(catalog: Path, folder: Path, tmp_path: Path):
    assert run(catalog, tmp_path / "v", folder)["unchanged"] is False
    assert run(catalog, tmp_path / "v", folder)["unchanged"] is True
    assert run(catalog, tmp_path / "v", folder, picture_weight=0.9)["unchanged"] is False


def test_row_groups_and_batch_size_do_not_change_the_vectors(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoders.embed, "SHARD", 4)
    for name, group, batch in (("a", 100, 64), ("b", 3, 1)):
        run(write_catalog(tmp_path / f"c{name}", ITEMS, group), tmp_path / name, folder, batch_size=batch)
    a, b = (ItemVectors.open(tmp_path / name) for name in "ab")
    assert a.ids == b.ids and np.allclose(a.float32(), b.float32(), atol=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picture_weight": 2.0}, "picture weight 2.0: allowed are 0"),
        ({"batch_size": 0}, "both must be at least 1"),
        ({"precision": "int4"}, "precision 'int4': allowed are float16, float32"),
        ({"encoder": "no-such-model"}, "neither a folder nor a model name; allowed are"),
    ],
)
def test_bad_arguments_say_what_is_allowed(catalog: Path, folder: Path, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        run(catalog, tmp_path / "v", folder, **changes)


def test_a_missing_catalogue_names_the_command(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"does not exist; make one with `navigator import"):
        run(tmp_path / "none", tmp_path / "v", folder)
