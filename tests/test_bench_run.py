"""`navigator-bench run` from end to end on a small catalogue, and `compare` on what it wrote."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.compare import compare
from bench.run import run
from navigator.contracts import Catalog, ItemVectors, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.contracts.report import METRICS, read_report
from navigator.contracts.signals import TasteSequence, write_sequences
from navigator.contracts.vectors import normalise, write_vectors

N_BOARDS, SIZE = 12, 6
SYSTEMS = ["popularity", "item-knn", "ease", "content", "frontier"]


def write_world(root: Path, n_boards: int = N_BOARDS) -> None:
    """Boards of six items whose vectors cluster by board; the last item of each is held out, the odd ones are cold."""
    rng = np.random.default_rng(0)
    n = n_boards * SIZE
    ids = [f"item {i}" for i in range(n)]
    with publish(root / "catalog", "catalog", {"n": n}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(schema.empty_table(), work.path / f"{name}.parquet")
        columns = {
            "item_id": ids,
            "title": ids,
            "description": ids,
            "keywords": [[]] * n,
            "image": [None] * n,
            "text": ids,
        }
        pq.write_table(pa.table(columns, schema=TABLES["items"]), work.path / "items.parquet")
    centres = rng.normal(size=(n_boards, 16))
    for name, noise in (("vectors", 0.9), ("refined", 0.3)):
        values = normalise(centres.repeat(SIZE, axis=0) + noise * rng.normal(size=(n, 16)))
        with publish(root / name, "vectors", {"encoder": name, "normalised": True}, {}) as work:
            write_vectors(work.path, ids, values.astype(np.float16))
    catalog = Catalog.open(root / "catalog")
    boards = [tuple(range(b * SIZE, (b + 1) * SIZE)) for b in range(n_boards)]
    sequences = [TasteSequence("board-completion", f"b {b}", "t", i[:4], i[4:5], i[5:]) for b, i in enumerate(boards)]
    # Even boards' held-out items were also saved by the last board: those are not cold.
    shared = tuple(i[5] for i in boards[::2])
    sequences.append(TasteSequence("board-completion", "mixed", "t", shared))
    with publish(root / "graph", "graph", {}, {"catalog": catalog.fingerprint}) as work:
        write_sequences(work.path / "sequences.parquet", sequences, ids)


def bench(root: Path, out: str = "report", **options):
    arguments = {"systems": SYSTEMS, "requests": 4, "refined": root / "refined"} | options
    return run(root / "catalog", root / "vectors", root / "graph", root / out, **arguments)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bench")
    write_world(root)
    bench(root, systems=[*SYSTEMS, "content-graph"])
    return root


def test_the_report_has_a_row_a_system_and_null_where_nothing_was_measured(world: Path) -> None:
    raw = json.loads((world / "report" / "report.json").read_text())
    assert list(raw["systems"]) == [
        "popularity", "item-knn", "ease", "content", "content-graph", "frontier:gpt-5-mini", "frontier:gemini-3-flash",
        "frontier:claude-haiku-4.5", "frontier:claude-opus-4.8",
    ]  # fmt: skip
    ours, hosted = raw["systems"]["content-graph"], raw["systems"]["frontier:gpt-5-mini"]
    assert set(ours["quality"]) == set(METRICS) and set(ours["quality"]["ndcg@10"]) == {"mean", "ci95"}
    assert set(ours["latency_ms"]) == {"p50", "p95", "p99"}
    assert ours["throughput_rps"] > 0 and ours["cost_usd_per_1000"] > 0 and ours["tokens_per_request"] is None
    assert ours["paired"]["ndcg@10"]["mean"] > 0 and raw["systems"]["content"]["paired"] is None
    assert hosted["quality"] is hosted["latency_ms"] is hosted["throughput_rps"] is hosted["peak_memory_mb"] is None
    assert hosted["cost_usd_per_1000"] == pytest.approx(2.62) and hosted["cost_assumptions"]
    assert (raw["n_queries"], raw["n_items"], raw["schema_version"]) == (12, 72, 1)


def test_cold_queries_are_those_whose_target_was_never_saved(world: Path) -> None:
    report = read_report(world / "report")
    assert report.n_cold_queries == 6
    cold = {name: row.quality_cold for name, row in report.systems.items() if row.quality_cold}
    assert all(value.n == 6 for value in cold.values())
    assert cold["popularity"].hr_10.mean == 0 and cold["content-graph"].hr_10.mean == 1


def test_figures_follow_from_the_raw_rows(world: Path) -> None:
    report = read_report(world / "report")
    rows = [json.loads(line) for line in (world / "report" / "requests.jsonl").read_text().splitlines()]
    per_query = pq.read_table(world / "report" / "quality.parquet").to_pylist()
    for name in ("popularity", "ease", "content"):
        row = report.systems[name]
        times = [r["latency_ms"] for r in rows if r["system"] == name]
        assert len(times) == 4 and row.latency_ms is not None and row.quality is not None
        assert row.latency_ms.p50 == pytest.approx(np.median(times))
        for metric in METRICS:
            values = [r[metric] for r in per_query if r["system"] == name]
            assert len(values) == 12 and row.quality.of(metric).mean == pytest.approx(np.mean(values))


def test_exported_runs_give_the_reported_figures_elsewhere(world: Path) -> None:
    report, folder = read_report(world / "report"), world / "report"
    qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels.trec")))
    for name in ("popularity", "item-knn", "ease", "content", "content-graph"):
        ranked = ir_measures.read_trec_run(str(folder / f"run.{name}.trec"))
        theirs = ir_measures.calc_aggregate([ir_measures.Success @ 10, ir_measures.nDCG @ 10], qrels, ranked)
        quality = report.systems[name].quality
        assert quality is not None
        assert theirs[ir_measures.Success @ 10] == pytest.approx(quality.hr_10.mean, abs=1e-6)
        assert theirs[ir_measures.nDCG @ 10] == pytest.approx(quality.ndcg_10.mean, abs=1e-6)


def test_report_md_names_every_system_and_the_plots_exist(world: Path) -> None:
    text = (world / "report" / "report.md").read_text()
    for needed in ("| content-graph |", "frontier:claude-opus-4.8", "navigator-bench run", "## Protocol", "2026-08-05"):
        assert needed in text
    for name in ("quality_latency.png", "latency.png"):
        assert (world / "report" / name).read_bytes()[:4] == b"\x89PNG" and f"({name})" in text


def test_an_unchanged_run_is_not_run_again_and_another_option_is(world: Path) -> None:
    stamp = (world / "report" / "report.json").stat().st_mtime_ns
    again = bench(world, systems=[*SYSTEMS, "content-graph"])
    assert again["unchanged"] and "content-graph" in again["text"]
    assert (world / "report" / "report.json").stat().st_mtime_ns == stamp
    assert not bench(world, "other", systems=["popularity"], requests=0)["unchanged"]
    row = read_report(world / "other").systems["popularity"]
    assert row.quality is not None and row.latency_ms is row.throughput_rps is row.cost_usd_per_1000 is None


def test_systems_without_inputs_stay_out_unless_asked_for(world: Path) -> None:
    bench(world, "defaults", systems=None, refined=None, frontier=[], requests=0)
    assert list(read_report(world / "defaults").systems) == ["content", "popularity", "item-knn", "ease"]
    with pytest.raises(UserError, match="'swapped' needs --model"):
        bench(world, "bad", systems=["swapped"])
    with pytest.raises(UserError, match="unknown system 'swaped'; allowed are swapped"):
        bench(world, "bad", systems=["swaped"])


class FakeModel:
    """Stands in for a recommender: the mean of its store's rows, more tokens when it sees pictures."""

    def __init__(self, vectors: ItemVectors, tokens_per_item: int) -> None:
        self.vectors, self.tokens_per_item = vectors, tokens_per_item

    def query_vectors(self, histories, titles) -> np.ndarray:
        return np.stack([self.vectors.float32(np.array(h)).mean(axis=0) for h in histories])

    def rank(self, history, candidates, title: str = "") -> np.ndarray:
        return np.zeros(len(candidates), np.float32)

    def count_tokens(self, n_history: int, n_candidates: int) -> int:
        return (n_history + n_candidates) * self.tokens_per_item


def test_models_take_part_and_native_may_be_asked_a_sample(world: Path, monkeypatch) -> None:
    from navigator.native import NativeRecommender
    from navigator.recommend import Recommender

    def open_native(model: Path, catalog: Path, vectors: Path, **options) -> FakeModel:
        assert catalog == world / "catalog" and options == {"device": "cpu", "dtype": "float32", "max_history": 20}
        return FakeModel(ItemVectors.open(vectors), 49)

    monkeypatch.setattr(Recommender, "open", lambda model, vectors, **options: FakeModel(ItemVectors.open(vectors), 1))
    monkeypatch.setattr(NativeRecommender, "open", open_native)
    for name in ("model", "native"):
        (world / name).mkdir()
        (world / name / "config.json").write_text("{}")
    options = {"model": world / "model", "native": world / "native", "model_vectors": world / "refined"}
    bench(world, "models", systems=None, frontier=[], native_queries=5, device="cpu", dtype="float32", **options)
    report = read_report(world / "models")
    assert list(report.systems)[:4] == ["swapped", "native", "content", "content-graph"]
    swapped, native = report.systems["swapped"], report.systems["native"]
    assert swapped.quality == report.systems["content-graph"].quality and swapped.n_queries == 12
    assert (swapped.tokens_per_request, native.tokens_per_request) == (40, 1960)
    assert native.n_queries == 5 and "sample of 5 of 12" in native.note and native.paired is not None
    assert report.device.dtype == "float32" and {"model", "native", "model_vectors"} <= report.inputs.keys()
    sample = list(ir_measures.read_trec_qrels(str(world / "models" / "qrels.native.trec")))
    ranked = ir_measures.read_trec_run(str(world / "models" / "run.native.trec"))
    theirs = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], sample, ranked)
    assert native.quality is not None and len(sample) == 5
    assert theirs[ir_measures.nDCG @ 10] == pytest.approx(native.quality.ndcg_10.mean, abs=1e-6)


def test_bad_input_is_one_line_and_exit_code_2(world: Path, capsys) -> None:
    base = [str(world / "catalog"), str(world / "vectors"), str(world / "graph"), "--out", str(world / "bad")]
    cases = {
        "allowed are board-completion, next-item": ["--task", "sorting"],
        "test split of task 'next-item' is empty": ["--task", "next-item"],
        "NAVIGATOR_FRONTIER_KEY": ["--frontier_base_url", "http://127.0.0.1:9/v1"],
        "no price for frontier model 'x'": ["--frontier", "x"],
        "--model": ["--model", str(world / "nowhere")],
    }
    for expected, options in cases.items():
        assert main(["run", *base, *options]) == 2
        error = capsys.readouterr().err
        assert expected in error and "Traceback" not in error and len(error.strip().splitlines()) == 1
    assert not (world / "bad").exists()


def test_help_needs_no_heavy_library() -> None:
    heavy = "{'torch', 'transformers', 'matplotlib', 'torch_geometric', 'open_clip'}"
    code = f"import sys; from bench.cli import main; main(['--help']); sys.exit(len({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0 and "compare" in done.stdout, done.stderr


def test_the_printed_command_is_the_run_it_came_from(world: Path, capsys) -> None:
    words = shlex.split(read_report(world / "report").command)
    assert words[0] == "navigator-bench" and main([*words[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] is True


def test_a_graph_of_another_catalogue_is_refused(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, n_boards=3)
    with pytest.raises(UserError, match="was built from catalogue"):
        run(world / "catalog", world / "vectors", tmp_path / "graph", tmp_path / "out", systems=["popularity"])


def test_compare_prints_what_changed(world: Path, capsys) -> None:
    bench(world, "shorter", systems=["content", "ease"], max_history=1, frontier=[])
    answer = compare(world / "report", world / "shorter" / "report.json")
    assert "ndcg@10" in answer["changes"]["content"] and "ndcg@10" not in answer["changes"]["ease"]
    assert "popularity" in answer["only_in_a"] and any("max_history: 20 in A, 1 in B" in w for w in answer["warnings"])
    change = answer["changes"]["content"]["ndcg@10"]
    assert change["change"] == pytest.approx(change["b"] - change["a"])
    assert main(["compare", str(world / "report"), str(world / "shorter")]) == 0
    assert "->" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"task": "next-item"}, "task"),
        ({"n_items": 71}, "n_items"),
        ({"n_queries": 11}, "n_queries"),
        ({"inputs": {"catalog": "0" * 16}}, "catalogue fingerprint"),
        ({"split": {"description": "", "part": "test", "queries": "x"}}, "queries"),
        ({"schema_version": 99}, "schema"),
    ],
)
def test_compare_refuses_runs_that_asked_something_else(world: Path, tmp_path: Path, change: dict, named: str) -> None:
    raw = json.loads((world / "report" / "report.json").read_text()) | change
    (tmp_path / "b.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=named):
        compare(world / "report", tmp_path / "b.json")


def test_latencies_of_another_device_are_not_compared(world: Path, tmp_path: Path) -> None:
    raw = json.loads((world / "report" / "report.json").read_text())
    raw["device"]["cpu"] = "another"
    raw["systems"]["content"]["latency_ms"]["p50"] = 1e9
    (tmp_path / "b.json").write_text(json.dumps(raw))
    answer = compare(world / "report", tmp_path / "b.json")
    assert any("another device (cpu differ)" in w for w in answer["warnings"])
    assert answer["changes"]["content"] == {}


def test_a_file_that_is_no_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    for path, message in ((tmp_path / "x.json", "not a bench report"), (tmp_path / "no.json", "does not exist")):
        with pytest.raises(UserError, match=message):
            compare(path, path)
