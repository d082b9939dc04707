"""`navigator-bench encoder` from end to end: two tiny encoders, one of them with a gate, on a small world of boards."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import bench.encoder.run
import bench.encoder.store
from bench.cli import main
from bench.encoder.command import encoder
from bench.encoder.figures import EncoderReport
from bench.encoder.intervals import intervals
from encoders.embed import fast_dtype
from encoders.fusion import GatedFusion, save_gate
from encoders.load import load_encoder
from encoders.parts import ItemParts, encode_parts, join
from graph.commands import build_graph
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES, held_out
from navigator.contracts.signals import board_titles, make_queries, read_sequences
from navigator.contracts.vectors import normalise

DIM, ITEMS, HOLDOUT = 6, 60, 0.4
BROKEN = 16  # held out, its picture cannot be read
NAMES = [f"i{n:02}" for n in range(ITEMS)]


def tiny_encoder(folder: Path, seed: int) -> None:
    config = {
        "model_cfg": {
            "embed_dim": DIM,
            "vision_cfg": {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
            "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "longest", "fill_color": 255},
    }  # fmt: skip
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = open_clip.model.CustomTextCLIP(**config["model_cfg"])
    (folder / "open_clip_config.json").write_text(
        json.dumps(config | {"model_cfg": config["model_cfg"] | {"custom_text": True}})
    )
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")


def picture(n: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(n).integers(0, 255, size=(24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """catalog (12 boards of 6 items, 4 owners), graph, and the encoders plain and tuned (gate, holdout .4)."""
    home = tmp_path_factory.mktemp("encoders")
    held = [(f"b{b}", NAMES[(5 * b + step) % ITEMS]) for b in range(12) for step in range(6)]
    tables = {
        "items": {
            "item_id": NAMES, "title": NAMES, "description": [""] * ITEMS, "keywords": [[]] * ITEMS,
            "image": [{"bytes": picture(n) if n % 11 else None, "path": None} for n in range(ITEMS)],
            "text": [f"thing {n}" if n % 7 else "" for n in range(ITEMS)],
        },
        "boards": {
            "board_id": [f"b{b}" for b in range(12)], "title": [f"board {b}" for b in range(12)],
            "owner_id": [f"o{b % 4}" for b in range(12)],
        },
        "board_items": {"board_id": [b for b, _ in held], "item_id": [i for _, i in held], "saved_at": [0] * len(held)},
    }  # fmt: skip
    tables["items"]["image"][BROKEN] = {"bytes": b"not a picture", "path": None}
    with publish(home / "catalog", "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            table = pa.table(tables[name], schema=schema) if name in tables else schema.empty_table()
            if name == "items":
                table = table.append_column("kind", pa.array([f"k{n % 3}" for n in range(ITEMS)]))
            pq.write_table(table, work.path / f"{name}.parquet")
    build_graph(home / "catalog", home / "graph", valid_fraction=0.5, walks=20)
    tiny_encoder(home / "plain", 0)
    with publish(
        home / "tuned", "encoder", {"holdout": HOLDOUT}, {"catalog": Catalog.open(home / "catalog").fingerprint}
    ) as work:
        tiny_encoder(work.path, 1)
        gate = GatedFusion(DIM)
        gate.bias.data.copy_(torch.tensor([0.0, 0.5, 0.2, 0.0]))
        save_gate(gate, work.path)
    return home


def run(home: Path, out: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "catalog": home / "catalog", "encoders": {"plain": str(home / "plain"), "tuned": str(home / "tuned")},
        "graph": home / "graph", "label": "kind", "prefixes": [4], "throughput": 0, "sheet_items": 3, "batch_size": 16,
    }  # fmt: skip
    return encoder(out=out, **(given | options))


@pytest.fixture(scope="module")
def report(home: Path) -> EncoderReport:
    run(home, home / "report")
    return EncoderReport.model_validate_json((home / "report" / "report.json").read_text())


def find(report: EncoderReport, name: str, task: str, scope: str, modality: str, targets: str = "all") -> Any:
    keys = (name, task, scope, modality, targets)
    return next(m for m in report.measures if (m.encoder, m.task, m.scope, m.modality, m.targets) == keys)


def test_the_report_is_whole(home: Path, report: EncoderReport):
    out = home / "report"
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["manifest.json", "map.png", "neighbours.png", "per_query.parquet", "report.html", "report.json", "report.md"]
    )
    assert list(report.encoders) == ["plain", "plain+titles", "tuned"]
    assert report.encoders["plain"].parts == ["picture", "text"] and report.encoders["tuned"].fusion == "gate"
    assert report.encoders["plain+titles"].parts == report.encoders["tuned"].parts == ["picture", "text", "boards"]
    held = held_out(NAMES, HOLDOUT)
    assert (report.held_out.fraction, report.held_out.items) == (HOLDOUT, held.sum())
    askable = [n for n in np.flatnonzero(held) if n % 7 and n % 11 and n != BROKEN]
    assert held[BROKEN]
    assert find(report, "tuned", "text-item", "catalogue", "picture").n == len(askable) == report.held_out.text_queries
    assert {m.encoder for m in report.measures if m.modality == "picture"} == {"plain", "tuned"}
    assert {(s.encoder, s.dims, s.precision) for s in report.shrunk} == {
        (e, d, p) for e in ("plain", "tuned") for d in (0, 4) for p in ("float32", "float16", "int8")
    } - {(e, 0, "float32") for e in ("plain", "tuned")}
    assert all(m.owners == 4 for m in report.measures if m.task == "board-item" and m.targets == "all")
    text = (out / "report.md").read_text()
    assert "![map.png](map.png)" in text and "board -> item NDCG@10, owners seen (both)" in text


def oracle(home: Path, name: str, titled: bool) -> tuple[np.ndarray, list[Any]]:
    """Item vectors (of parts kept as float16) and test queries without the bench."""
    catalog = Catalog.open(home / "catalog")
    sequences = read_sequences(home / "graph" / "sequences.parquet", catalog.item_index)
    model, rows = load_encoder(str(home / name), dtype=fast_dtype(torch.device("cpu"))), range(ITEMS)
    pictures = [model.prepare(picture(n)) if n % 11 and n != BROKEN else None for n in rows]
    titles = board_titles(sequences, ITEMS) if titled else None
    parts = encode_parts(model, pictures, [f"thing {n}" if n % 7 else "" for n in rows], titles)
    kept = normalise(parts.values.astype(np.float16).astype(np.float32))
    vectors = join(model, ItemParts(kept, parts.has), 0.5)
    return vectors, make_queries(sequences, "board-completion", "test")


@pytest.mark.parametrize(
    ("row", "folder", "titled"), [("plain", "plain", False), ("plain+titles", "plain", True), ("tuned", "tuned", True)]
)
def test_board_figures_are_those_of_a_plain_loop(
    home: Path, report: EncoderReport, row: str, folder: str, titled: bool
):
    vectors, queries = oracle(home, folder, titled)
    gains = []
    for q in queries:
        mean = vectors[list(q.history)].mean(0)
        order = sorted((i for i in range(ITEMS) if i not in q.history), key=lambda i: -float(mean @ vectors[i]))
        place = order.index(q.targets[0])
        gains.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    found = find(report, row, "board-item", "seen", "both")
    assert found.n == len(queries) == 12
    assert found.figures["ndcg@10"].mean == pytest.approx(np.mean(gains), abs=1e-6)


def test_others_can_pair_by_the_rows_of_per_query(home: Path, report: EncoderReport):
    rows = pq.read_table(home / "report" / "per_query.parquet").to_pylist()

    def values(name: str) -> dict[str, tuple[float, str]]:
        keys = (name, "item-mates", "seen", "both", 0, "float32", "recall@10")
        named = ("encoder", "task", "scope", "modality", "dims", "precision", "metric")
        return {r["query_id"]: (r["value"], r["owner"]) for r in rows if tuple(r[c] for c in named) == keys}

    plain, tuned = values("plain"), values("tuned")
    assert list(plain) == list(tuned) and len(plain) == 12
    found = find(report, "tuned", "item-mates", "seen", "both")
    gain = np.array([tuned[q][0] - plain[q][0] for q in plain])
    assert found.figures["recall@10"].mean == pytest.approx(np.mean([v for v, _ in tuned.values()]))
    wanted = intervals(gain[:, None], np.array([owner for _, owner in plain.values()]), 0)[0]
    assert found.versus_first["recall@10"] == wanted
    assert find(report, "plain", "item-mates", "seen", "both").versus_first is None


def test_a_current_report_is_not_made_again_and_the_order_of_encoders_counts(home: Path, report: EncoderReport):
    again = run(home, home / "report")
    assert again["unchanged"] and again["encoders"]["tuned"] and "tuned" in again["text"]
    shutil.copytree(home / "report", home / "turned")
    swapped = {"tuned": str(home / "tuned"), "plain": str(home / "plain")}
    assert not run(home, home / "turned", encoders=swapped)["unchanged"]


def test_an_interrupted_run_goes_on_with_what_is_encoded(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    encoded: list[str] = []
    real = bench.encoder.store._write_parts

    def write(catalog: Any, model: Any, folder: Path, size: int, label: str, features: Any) -> None:
        encoded.append(label)
        real(catalog, model, folder, size, label, features)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.encoder.store, "_write_parts", write)
    with monkeypatch.context() as patch:
        patch.setattr(bench.encoder.run, "answer", killed)
        with pytest.raises(KeyboardInterrupt):
            run(home, tmp_path / "r", map_items=0, sheet_items=0)
    assert encoded == ["plain", "tuned"] and not (tmp_path / "r").exists()
    (tmp_path / "r.work" / "parts" / "tuned" / "has.npy").unlink()  # as if killed in the second encoder
    done = run(home, tmp_path / "r", map_items=0, sheet_items=0)
    assert encoded == ["plain", "tuned", "tuned"] and not (tmp_path / "r" / "parts").exists()
    whole = (
        json.loads((home / "report" / "report.json").read_text())["measures"] if (home / "report").exists() else None
    )
    assert whole is None or json.loads((tmp_path / "r" / "report.json").read_text())["measures"] == whole
    assert not (tmp_path / "r" / "map.png").exists() and not done["unchanged"]


def test_without_graph_and_label_only_items_are_asked(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    argv = [
        "encoder",
        str(home / "catalog"),
        f"plain={home / 'plain'}",
        str(tmp_path / "r"),
        "--json",
        "--prefixes",
        "[]",
    ]
    assert main([*argv, "--throughput", "20", "--batch_size", "4"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {key.split()[0] for key in answer["encoders"]["plain"]} == {"text-item"}
    speed = answer["throughput"]["plain"]
    assert speed["items"] == 20 and len(speed["bare_runs"]) == len(speed["embed_runs"]) == 5
    assert speed["bare_items_per_s"] == np.median(speed["bare_runs"]) and min(speed["embed_runs"]) > 0
    assert speed["ratio"] == pytest.approx(np.median(np.divide(speed["embed_runs"], speed["bare_runs"])))
    report = EncoderReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert list(report.encoders) == ["plain"] and not report.shrunk and report.held_out.fraction == 0.1


def test_a_log_without_boards_asks_items_alone(home: Path, tmp_path: Path):
    """Its taste graph has users' sequences, which an encoder without a model is not asked about."""
    with publish(tmp_path / "catalog", "catalog", {}, {}) as work:
        shutil.copy(home / "catalog" / "items.parquet", work.path)
        for name, schema in TABLES.items():
            if name != "items":
                pq.write_table(schema.empty_table(), work.path / f"{name}.parquet")
        log = [(f"u{u}", NAMES[(7 * u + step) % ITEMS], "save", 100 * u + step) for u in range(6) for step in range(8)]
        columns = [list(column) for column in zip(*log, strict=True)]
        pq.write_table(pa.table(columns, schema=TABLES["interactions"]), work.path / "interactions.parquet")
    catalog, taste_graph = tmp_path / "catalog", tmp_path / "graph"
    build_graph(catalog, taste_graph, valid_fraction=0.5, walks=20)
    sequences = read_sequences(taste_graph / "sequences.parquet", Catalog.open(catalog).item_index)
    assert {s.task for s in sequences} == {"next-item"}
    given = {"catalog": catalog, "graph": taste_graph, "encoders": {"plain": str(home / "plain")}, "sheet_items": 0}
    answer = run(home, tmp_path / "r", map_items=0, **given)
    assert list(answer["encoders"]) == ["plain"]
    assert {key.split()[0] for key in answer["encoders"]["plain"]} == {"text-item", "purity"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"holdout": 0.5}, "smaller than 0.5"),
        ({"encoders": {}}, "no encoder given"),
        ({"encoders": {"a b": "x"}}, "encoder name 'a b'"),
        ({"encoders": {"a": "no-such-model"}}, "neither a folder nor a model name"),
        ({"label": "colour"}, "label 'colour'"),
        ({"picture_weight": 1.5}, "picture weight 1.5"),
        ({"prefixes": [0]}, "prefixes >= 1"),
        ({"throughput": -1}, "throughput -1"),
        ({"throughput": 3}, "throughput 0 or >= 8"),
        ({"sheet_items": 31}, "sheet_items 31"),
    ],
)
def test_bad_input_is_one_line(home: Path, tmp_path: Path, options: dict[str, Any], reason: str):
    with pytest.raises(UserError, match=reason):
        run(home, tmp_path / "r", **options)


def test_a_catalogue_that_can_ask_nothing_is_told(home: Path, tmp_path: Path):
    shutil.copytree(home / "catalog", tmp_path / "bare")
    items = pq.read_table(tmp_path / "bare" / "items.parquet")
    at = items.column_names.index("image")
    empty = pa.array([None] * len(items), items.schema.field("image").type)
    pq.write_table(items.set_column(at, items.schema.field("image"), empty), tmp_path / "bare" / "items.parquet")
    with pytest.raises(UserError, match="nothing to ask: none of the 25 held-out items"):
        run(home, tmp_path / "r", catalog=tmp_path / "bare", graph=None, label=None)


def test_a_weight_that_nothing_reads_is_refused(home: Path, tmp_path: Path):
    with pytest.raises(UserError, match="every encoder given has a learned gate"):
        run(home, tmp_path / "r", encoders={"tuned": str(home / "tuned")}, picture_weight=0.7)
    alone = run(home, tmp_path / "r", encoders={"tuned": str(home / "tuned")}, map_items=0, sheet_items=0)
    assert list(alone["encoders"]) == ["tuned"]  # no control row: it is for an encoder without a gate


def test_a_body_that_encoders_share_runs_once_and_changes_nothing(home, tmp_path, monkeypatch):
    """Features of a timm tower, then its head, are encode_pictures; a second encoder of the same body decodes nothing."""
    tiny_encoder(tmp_path / "plain", 0)
    weights = load_file(tmp_path / "plain" / "open_clip_model.safetensors")
    shutil.copytree(tmp_path / "plain", tmp_path / "other")
    head = {k: v.flip(0).contiguous() if k.startswith("visual.head.") else v for k, v in weights.items()}
    save_file(head, tmp_path / "other" / "open_clip_model.safetensors")
    plain, other = (load_encoder(str(tmp_path / name)) for name in ("plain", "other"))
    assert plain.picture_body() == other.picture_body() is not None
    catalog = Catalog.open(home / "catalog")
    pictures = [(n, picture(n)) for n in range(ITEMS) if n % 11 and n != BROKEN]
    rows = [n for n, _ in pictures]
    one = bench.encoder.store.open_store(catalog, lambda: plain, tmp_path / "parts/plain", None, 16, "plain")
    np.testing.assert_allclose(one.arrays[0][rows], plain.encode_pictures([p for _, p in pictures]), atol=1e-3)
    assert one.has[:, 0].tolist() == [n in rows for n in range(ITEMS)]
    with monkeypatch.context() as patch:
        patch.setattr(bench.encoder.store, "_prepare", None)  # would fail
        two = bench.encoder.store.open_store(catalog, lambda: other, tmp_path / "parts/other", None, 16, "other")
    np.testing.assert_allclose(two.arrays[0][rows], other.encode_pictures([p for _, p in pictures]), atol=1e-3)
    assert np.abs(one.arrays[0][rows] - two.arrays[0][rows]).max() > 0.01
