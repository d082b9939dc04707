"""Item vectors from a tiny catalogue: fused as stated, bit-equal after an interruption, nothing dropped in silence."""

import importlib.util
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encoders.embed
import encoders.merge
import encoders.shards
from encoders.fusion import GatedFusion, save_gate
from encoders.load import Encoder, load_encoder
from encoders.parts import encode_parts, join
from navigator.contracts import Catalog, ItemVectors, UserError, publish, read_manifest
from navigator.contracts.catalog import TABLES
from navigator.contracts.signals import TasteSequence, write_sequences
from navigator.contracts.vectors import normalise
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


def write_catalog(
    out: Path, items: list[tuple[str, str, bytes | None]], row_group: int = 4, captions: dict[str, str] | None = None
) -> Path:
    with publish(out, "catalog", {"n": len(items)}, {}) as work:
        rows = [
            {"item_id": i, "title": text, "description": "", "keywords": [], "text": text,
             "image": {"bytes": data, "path": None}, "caption": (captions or {}).get(i)}
            for i, text, data in items
        ]  # fmt: skip
        for name, schema in TABLES.items():
            if name == "items" and captions is not None:
                schema = schema.append(pa.field("caption", pa.string()))
            table = pa.Table.from_pylist(rows if name == "items" else [], schema=schema)
            pq.write_table(table, work.path / f"{name}.parquet", row_group_size=row_group)
    return out


def write_graph(
    out: Path, catalog: Path, boards: dict[str, list[str]], held: dict[str, list[str]] | None = None
) -> Path:
    """A graph artefact with nothing but boards: title -> items, and title -> items held out of it."""
    opened = Catalog.open(catalog)
    index = opened.item_index
    sequences = [
        TasteSequence("board-completion", title, title, tuple(index[i] for i in items),
                      test=tuple(index[i] for i in (held or {}).get(title, [])))
        for title, items in boards.items()
    ]  # fmt: skip
    with publish(out, "graph", {"boards": boards}, {"catalog": opened.fingerprint}) as work:
        write_sequences(work.path / "sequences.parquet", sequences, opened.item_ids)
    return out


def open_encoder(folder: Path) -> Encoder:
    """The encoder as `embed` runs it on this CPU."""
    return load_encoder(str(folder), dtype=encoders.embed.fast_dtype(encoders.embed.torch.device("cpu")))


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
    encoder = open_encoder(folder)
    picture, text = encoder.encode_pictures([RED])[0], encoder.encode_texts(["a red flag"])[0]
    mixed = 0.3 * picture + 0.7 * text
    assert np.allclose(vectors.float32()[0], mixed / np.linalg.norm(mixed), atol=0.02)


def test_what_is_missing_is_counted_and_the_other_part_used(catalog: Path, folder: Path, tmp_path: Path):
    result = run(catalog, tmp_path / "v", folder)
    rows = dict(zip([i for i, _, _ in ITEMS], ItemVectors.open(tmp_path / "v").float32(), strict=True))
    encoder = open_encoder(folder)
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
    true_step, calls = encoders.shards._encode, []

    def counting(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        true_step(*arguments)

    monkeypatch.setattr(encoders.shards, "_encode", counting)
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
        patch.setattr(encoders.merge, "shutil", SimpleNamespace(rmtree=killed))
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
        ({"batch_size": 0}, "all must be at least 1"),
        ({"precision": "int4"}, "precision 'int4': allowed are float16, float32, int8"),
        ({"engine": "spark"}, "engine 'spark': allowed are local, ray"),
        ({"dim": 7}, "dim 7: allowed are 1 to 6"),
        ({"encoder": "no-such-model"}, "neither a folder nor a model name; allowed are"),
    ],
)
def test_bad_arguments_say_what_is_allowed(catalog: Path, folder: Path, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        run(catalog, tmp_path / "v", folder, **changes)


def test_board_titles_of_training_and_captions_are_parts(folder: Path, tmp_path: Path):
    catalog = write_catalog(tmp_path / "c", ITEMS, captions={"both": "a cloth", "nothing": "a void"})
    boards = {"flags": ["both", "words"], "summer": ["both"]}
    taste_graph = write_graph(tmp_path / "g", catalog, boards, held={"summer": ["words"], "flags": ["picture"]})
    result = run(catalog, tmp_path / "v", folder, graph=taste_graph, precision="float32")
    assert (result["with_boards"], result["with_caption"], result["neither"]) == (2, 2, 0)
    store = ItemVectors.open(tmp_path / "v")
    assert (
        read_manifest(tmp_path / "v", "vectors", "").inputs["graph"]
        == read_manifest(taste_graph, "graph", "").fingerprint
    )
    encoder, rows = open_encoder(folder), dict(zip(store.ids, store.float32(), strict=True))
    red, blue = encoder.prepare(RED), encoder.prepare(BLUE)
    titles = [["flags", "summer"], ["flags"], [], []]
    wanted = encode_parts(
        encoder, [red, None, blue, None], ["a red flag", "a blue flag", "", ""], titles, ["a cloth", "", "", "a void"]
    )
    for name, row in zip(("both", "words", "picture", "nothing"), join(encoder, wanted, 0.5), strict=True):
        assert np.allclose(rows[name], row, atol=0.02), name
    without = run(catalog, tmp_path / "plain", folder, precision="float32")
    assert without["with_boards"] == 0
    assert not np.allclose(ItemVectors.open(tmp_path / "plain").float32()[0], rows["both"], atol=0.02)


def test_a_graph_of_another_catalogue_is_refused(catalog: Path, folder: Path, tmp_path: Path):
    other = write_catalog(tmp_path / "other", ITEMS[:3])
    taste_graph = write_graph(tmp_path / "g", other, {"flags": ["both"]})
    with pytest.raises(UserError, match=r"was built from catalogue .* or build one with `navigator graph .* --out"):
        run(catalog, tmp_path / "v", folder, graph=taste_graph)


def test_int8_is_within_half_a_step_of_float32_and_the_step_is_largest_by_127(
    catalog: Path, folder: Path, tmp_path: Path
):
    run(catalog, tmp_path / "exact", folder, precision="float32")
    run(catalog, tmp_path / "v", folder, precision="int8")
    exact, store = ItemVectors.open(tmp_path / "exact").float32(), ItemVectors.open(tmp_path / "v")
    assert store.matrix.dtype == np.int8 and store.scale is not None
    for d in range(store.dim):
        assert store.scale[d] == pytest.approx(max(abs(float(row[d])) for row in exact) / 127, rel=1e-5)
    assert (np.abs(store.float32() - exact) <= store.scale / 2 + 1e-6).all()
    assert np.abs(store.matrix).max(0).tolist() == [127] * store.dim


def test_a_prefix_is_the_first_dimensions_normalised_again(catalog: Path, folder: Path, tmp_path: Path):
    run(catalog, tmp_path / "whole", folder, precision="float32")
    result = run(catalog, tmp_path / "v", folder, precision="float32", dim=4)
    store, whole = ItemVectors.open(tmp_path / "v"), ItemVectors.open(tmp_path / "whole").float32()
    assert (store.dim, result["dim"], result["zero_vectors"]) == (4, 4, 0)
    assert np.allclose(store.float32(), normalise(whole[:, :4]), atol=1e-6)
    config = read_manifest(tmp_path / "v", "vectors", "").config
    assert (config["dim"], config["encoder_dim"], config["encoder"]) == (4, worlds.DIM, result["encoder"])


def test_an_encoder_with_a_learned_gate_weighs_by_it(catalog: Path, tmp_path: Path):
    tuned = worlds.tiny_encoder(tmp_path / "tuned")
    gate = GatedFusion(worlds.DIM)
    gate.bias.data[0] = 2.0  # pictures count most
    save_gate(gate, tuned)
    run(catalog, tmp_path / "v", tuned, precision="float32")
    assert read_manifest(tmp_path / "v", "vectors", "").config["fusion"] == "gate"
    encoder, share = open_encoder(tuned), 1 / (1 + np.exp(-2.0))
    picture, text = encoder.encode_pictures([RED])[0], encoder.encode_texts(["a red flag"])[0]
    wanted = normalise(share * picture + (1 - share) * text)
    assert np.allclose(ItemVectors.open(tmp_path / "v").float32()[0], wanted, atol=0.02)
    with pytest.raises(
        UserError, match=r"weighs the parts of an item by its own learned gate; leave --picture_weight out"
    ):
        run(catalog, tmp_path / "v", tuned, picture_weight=0.3)


def test_pictures_are_decoded_ahead_but_boundedly(
    catalog: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While the first batch is encoded, AHEAD more are decoded, also those of the next shard, and no others."""
    true_prepare, true_step, decoded, seen = Encoder.prepare, encoders.shards._encode, [], []

    def prepare(self: Encoder, picture: Any) -> Any:
        decoded.append(1)
        return true_prepare(self, picture)

    def step(*arguments: Any) -> None:
        time.sleep(0.1)
        seen.append(len(decoded))
        true_step(*arguments)

    monkeypatch.setattr(Encoder, "prepare", prepare)
    monkeypatch.setattr(encoders.shards, "_encode", step)
    run(catalog, tmp_path / "v", folder)
    # by text length, with the pictures in brackets: shard 1 [picture] [both] words; shard 2 nothing, [item0] [broken]; ...
    assert seen[0] == 3, "the two batches of shard 1 and the first of shard 2"
    assert seen[-1] == len(decoded) == 9


def test_a_missing_catalogue_names_the_command(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"does not exist; make one with `navigator import"):
        run(tmp_path / "none", tmp_path / "v", folder)
