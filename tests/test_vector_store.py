"""A store that lives on: only what changed is embedded again, and queries and newcomers take its size."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import encoders.embed
import encoders.shards
from encoders.load import Encoder, load_encoder
from encoders.source import Source
from navigator.cli import main
from navigator.contracts import ItemVectors, UserError, publish
from navigator.contracts.vector_file import write_tensors
from navigator.contracts.vectors import as_stored, normalise, write_vectors
from navigator.encode_commands import embed
from navigator.index import ItemIndex, write_index
from navigator.model_commands import search

_SPEC = importlib.util.spec_from_file_location("embed_worlds", Path(__file__).with_name("test_embed.py"))
assert _SPEC is not None and _SPEC.loader is not None
worlds = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(worlds)
png, tiny_encoder = worlds.worlds.png, worlds.worlds.tiny_encoder
ITEMS: list[tuple[str, str, bytes | None]] = [(f"i{n}", f"number {n}", png((n * 20, 90, 90))) for n in range(8)]
ITEMS.append(("torn", "a torn one", b"not a picture"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("store") / "encoder")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the items that went through the encoder, shards of three items."""
    true_step, found = encoders.shards._encode, []

    def step(job: Any, encoder: Encoder, shard: Any, batch: list[int], pictures: Any) -> None:
        found.extend(shard.items[i]["item_id"] for i in batch)
        true_step(job, encoder, shard, batch, pictures)

    monkeypatch.setattr(encoders.shards, "_encode", step)
    monkeypatch.setattr(encoders.embed, "SHARD", 3)
    return found


def run(items: list[tuple[str, str, bytes | None]], home: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """Embed a catalogue of these items into home/v."""
    catalog = home / f"c{len(list(home.glob('c*')))}"
    worlds.write_catalog(catalog, items, captions=changes.pop("captions", None))
    if "boards" in changes:
        changes["graph"] = worlds.write_graph(home / f"g-{catalog.name}", catalog, changes.pop("boards"))
    return embed(
        catalog, home / "v", **{"encoder": str(folder), "batch_size": 2, "device": "cpu", "actors": 1} | changes
    )


def rows(path: Path) -> dict[str, np.ndarray]:
    store = ItemVectors.open(path)
    return {item_id: np.array(store.matrix[row]) for item_id, row in store.index.items()}


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_only_new_and_changed_items_are_encoded(tmp_path: Path, folder: Path, encoded: list[str], precision: str):
    run(ITEMS, tmp_path, folder, precision=precision)
    before = rows(tmp_path / "v")
    assert sorted(encoded) == sorted(i for i, _, _ in ITEMS)
    encoded.clear()
    changed = [("new", "brand new", png((1, 2, 3))), *ITEMS[1:]]  # i0 is gone, everything stays in its place by id
    changed[3], changed[5] = ("i3", "another text", ITEMS[3][2]), ("i5", "number 5", png((9, 9, 9)))
    result = run(changed[::-1], tmp_path, folder, precision=precision)
    assert sorted(encoded) == ["i3", "i5", "new"]
    assert (result["encoded"], result["reused"], result["removed"]) == (3, 6, 1)
    assert result["unreadable_pictures"] == 1 and "torn" in result["unreadable_first"], "still told of a copied row"
    after = rows(tmp_path / "v")
    assert list(after) == [i for i, _, _ in changed[::-1]]
    for name in ("i1", "i2", "i4", "i6", "i7", "torn"):
        assert after[name].tobytes() == before[name].tobytes()
    run(changed[::-1], tmp_path, folder, precision=precision, fresh=True)
    whole = rows(tmp_path / "v")
    assert all(np.allclose(after[name], whole[name], atol=0.02) for name in after)


def test_titles_and_captions_are_content_too(tmp_path: Path, folder: Path, encoded: list[str]):
    run(ITEMS, tmp_path, folder, boards={"a": ["i1", "i2"], "b": ["i1"]}, captions={"i4": "old"})
    encoded.clear()
    run(ITEMS, tmp_path, folder, boards={"b": ["i1"], "a": ["i1", "i2", "i3"]}, captions={"i4": "new"})
    assert sorted(encoded) == ["i3", "i4"], "the order of an item's boards does not matter"


@pytest.mark.parametrize("change", [{"picture_weight": 0.4}, {"precision": "float32"}, {"dim": 3}, {"fresh": True}])
def test_another_recipe_or_fresh_embeds_everything(tmp_path: Path, folder: Path, encoded: list[str], change: dict):
    run(ITEMS, tmp_path, folder)
    encoded.clear()
    result = run(ITEMS, tmp_path, folder, **change)
    assert len(encoded) == len(ITEMS) and result["reused"] == 0


def test_an_empty_catalogue_has_an_empty_store_that_can_grow(tmp_path: Path, folder: Path, encoded: list[str]):
    assert run([], tmp_path, folder)["items"] == 0 and ItemVectors.open(tmp_path / "v").float32().shape == (0, 6)
    assert run(ITEMS, tmp_path, folder)["encoded"] == len(ITEMS)
    assert run([], tmp_path, folder)["removed"] == len(ITEMS)


def test_strict_stops_at_a_copied_unreadable_picture_too(tmp_path: Path, folder: Path, encoded: list[str]):
    run(ITEMS, tmp_path, folder)
    with pytest.raises(UserError, match="the picture of item 'torn' cannot be read"):
        run(ITEMS[1:], tmp_path, folder, strict=True)


def test_int8_rows_keep_their_bits_unless_the_step_grew(tmp_path: Path, folder: Path, encoded: list[str]):
    run(ITEMS, tmp_path, folder, precision="int8")
    before, scale = rows(tmp_path / "v"), np.array(ItemVectors.open(tmp_path / "v").scale)
    run(ITEMS[4:], tmp_path, folder, precision="int8")
    assert np.array_equal(np.array(ItemVectors.open(tmp_path / "v").scale), scale), "never smaller than it was"
    assert all(np.array_equal(row, before[name]) for name, row in rows(tmp_path / "v").items())
    encoded.clear()
    grown = run(ITEMS[4:] + [(f"n{n}", f"other {n} " * n, png((255, 10 * n, 0))) for n in range(12)], tmp_path, folder,
                precision="int8")  # fmt: skip
    store = ItemVectors.open(tmp_path / "v")
    assert len(encoded) == 12 and grown["reused"] == 5 and store.scale is not None
    same = np.array(store.scale) == scale
    assert 0 < same.sum() < store.dim and (np.array(store.scale) >= scale).all()
    for name in [i for i, _, _ in ITEMS[4:]]:
        now, was = store.matrix[store.index[name]], before[name]
        assert np.array_equal(now[same], was[same])
        assert (np.abs(now * store.scale - was * scale) <= store.scale / 2 + 1e-6).all()


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_killed_incremental_run_resumes(
    tmp_path: Path, folder: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch, precision: str
):
    changed = [(i, text + "!", data) if i in ("i1", "i4", "i7") else (i, text, data) for i, text, data in ITEMS]
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
        run(ITEMS, tmp_path / name, folder, precision=precision)
    run(changed, tmp_path / "whole", folder, precision=precision)
    encoded.clear()
    true_write = encoders.shards._write

    def write(job: Any, shard: Any) -> None:
        if shard.number == 2:
            raise KeyboardInterrupt
        true_write(job, shard)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoders.shards, "_write", write)
        run(changed, tmp_path / "cut", folder, precision=precision)
    assert encoded == ["i1", "i4", "i7"]
    options: dict[str, Any] = {"precision": precision, "batch_size": 2, "device": "cpu"}
    result = embed(tmp_path / "cut" / "c1", tmp_path / "cut" / "v", str(folder), **options)
    assert encoded == ["i1", "i4", "i7", "i7"] and (result["reused"], result["encoded"]) == (6, 3)
    for file in ("vectors.safetensors", "ids.parquet", "notes.json"):
        assert (tmp_path / "cut/v" / file).read_bytes() == (tmp_path / "whole/v" / file).read_bytes()


def test_fresh_does_not_resume_from_copied_rows(
    tmp_path: Path, folder: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
):
    run(ITEMS, tmp_path, folder)
    worlds.write_catalog(tmp_path / "next-c", [*ITEMS, ("late", "late", None)])

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def again(**changes: Any) -> dict[str, Any]:
        return embed(tmp_path / "next-c", tmp_path / "v", str(folder), device="cpu", **changes)

    for place in ("_encode", None):  # killed before the last shard; killed after the merge
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            if place:
                patch.setattr(encoders.shards, place, killed)
            else:
                patch.setattr("encoders.merge.shutil", SimpleNamespace(rmtree=killed))
            again()
        assert (tmp_path / "v.work").exists()
    encoded.clear()
    assert again(fresh=True)["reused"] == 0
    assert sorted(encoded) == sorted(i for i, _, _ in ITEMS), "late was encoded before, in a shard of its own"


def test_vectors_of_newcomers_take_the_stores_size():
    content = normalise(np.array([[3.0, 4.0, 12.0], [0.0, 1.0, 0.0]]))
    assert np.allclose(as_stored(content, 2, 3), [[0.6, 0.8, 0], [0, 1, 0]])
    assert np.allclose(as_stored(content, 3, 3), content) and as_stored(content, 3, 5).shape == (2, 5)
    with pytest.raises(UserError, match="the encoder gives 3 dimensions, the store keeps 4"):
        as_stored(content, 4, 4)


def test_a_newcomers_picture_reaches_the_model_in_the_stores_size(tmp_path: Path, backbone: Path):
    """The tower was made for a refined store: 4 dimensions of the encoder's 6, then 2 graph factors."""
    from navigator.swap import swap

    refined = {"encoder": "refined", "normalised": True, "content_encoder": "enc", "content_dim": 4}
    with publish(tmp_path / "v", "vectors", refined, {}) as work:
        write_vectors(work.path, ["i0"], np.eye(1, 6, dtype=np.float32))
    _, processor = swap(str(backbone), 6, "refined")
    picture = np.array([[0.0, 0.6, 0.0, 0.0, 0.8, 0.0]], np.float32)
    processor.attach(ItemVectors.open(tmp_path / "v"), lambda _: picture)
    message = [{"role": "user", "content": [{"type": "image", "image": b""}, {"type": "item", "item": "i0"}]}]
    inputs = processor.apply_chat_template(message, tokenize=True)
    assert not isinstance(inputs, str)
    assert np.allclose(inputs["pixel_values"], [[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])


def test_reading_a_catalogue_holds_a_part_of_it_at_a_time(tmp_path: Path):
    """A reader of all row groups at once kept what it had read, so that memory grew with the catalogue."""
    noise = np.random.default_rng(0)
    items = [(f"i{n}", "", noise.bytes(20_000)) for n in range(1200)]
    catalog = worlds.write_catalog(tmp_path / "c", items, row_group=50)
    held, seen = [], []
    for number, found in Source(catalog).shards(range(12), 100):
        held.append(pa.total_allocated_bytes())
        seen += [item["item_id"] for item in found]
        assert number == len(held) - 1
    assert seen == [i for i, _, _ in items]
    assert max(held) < 8_000_000, "of 24 MB of pictures"


def test_words_and_pictures_search_a_prefix_store(tmp_path: Path, folder: Path, encoded: list[str]):
    run(ITEMS, tmp_path, folder, dim=4, precision="int8")
    write_index(tmp_path / "v", tmp_path / "index", "flat")
    (tmp_path / "query.png").write_bytes(png((40, 90, 90)))
    encoder, opened = load_encoder(str(folder)), ItemVectors.open(tmp_path / "v")
    queries = encoder.encode_texts(["number 3"]), encoder.encode_pictures([png((40, 90, 90))])
    for text, image, query in (("number 3", None, queries[0]), (None, tmp_path / "query.png", queries[1])):
        scores = opened.float32() @ normalise(query[:, :4])[0]
        best = search(tmp_path / "index", text, image, encoder=str(folder), k=3)["results"]
        assert [r["item"] for r in best] == [opened.ids[row] for row in np.argsort(-scores)[:3]]
        assert best[0]["score"] == pytest.approx(scores.max(), abs=1e-3)
    assert ItemIndex.open(tmp_path / "index").manifest.config["content_dim"] == 4


def test_a_query_picture_that_cannot_be_read_is_one_line(
    tmp_path: Path, folder: Path, encoded: list[str], capsys: pytest.CaptureFixture[str]
):
    run(ITEMS[:3], tmp_path, folder)
    write_index(tmp_path / "v", tmp_path / "index", "flat")
    (tmp_path / "torn.png").write_bytes(png((1, 2, 3))[:40])
    for name, told in (("torn.png", "cannot be read ("), ("none.png", "does not exist; give a PNG, JPEG or WebP file")):
        capsys.readouterr()
        argv = ["search", str(tmp_path / "index"), "--image", str(tmp_path / name), "--encoder", str(folder)]
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith(f"error: picture {tmp_path / name} {told}"), err


def test_the_file_is_what_safetensors_reads(tmp_path: Path):
    from safetensors.numpy import load_file

    blocks = [np.arange(6, dtype=np.int8).reshape(2, 3), np.full((1, 3), -127, np.int8)]
    write_tensors(tmp_path / "x", iter(blocks), (3, 3), np.dtype(np.int8), np.array([0.5, 1, 2]))
    read = load_file(tmp_path / "x")
    assert np.array_equal(read["vectors"], np.concatenate(blocks)) and read["scale"].tolist() == [0.5, 1, 2]


def test_words_are_not_drawn_to_items_without_graph_factors(tmp_path: Path):
    """All of such an item's length is content, so an inner product with a query of content alone preferred it."""
    near = normalise(np.array([[0.9, 0.1, 0.0]], np.float32))[0]  # the nearest in content, half of it graph factors
    stored = np.stack([np.r_[0.5 * near, 0.0, 0.866], np.r_[0.7, 0.714, 0.0, 0.0, 0.0]]).astype(np.float32)
    made = {"encoder": "refined", "normalised": True, "content_encoder": "enc", "content_dim": 3}
    with publish(tmp_path / "v", "vectors", made, {}) as work:
        write_vectors(work.path, ["saved", "new"], normalise(stored))
    write_index(tmp_path / "v", tmp_path / "index", "flat")
    index, asked = ItemIndex.open(tmp_path / "index"), np.array([[1.0, 0.0, 0.0]], np.float32)
    assert index.search(np.pad(asked, ((0, 0), (0, 2))), 1)[0][0][0] == "new"
    found = index.search_content(asked, 2)[0]
    assert [item for item, _ in found] == ["saved", "new"] and found[0][1] == pytest.approx(float(near[0]), abs=1e-3)
    assert [item for item, _ in index.search_content(asked, 2, [{"saved"}])[0]] == ["new"]
