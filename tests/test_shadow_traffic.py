"""Requests from logs and graphs: read strictly, what cannot be asked is counted, and no one is asked twice as often."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.shadow.log import read_log
from bench.shadow.options import Options
from bench.shadow.traffic import open_traffic
from navigator.contracts import Catalog, UserError
from navigator.contracts.signals import make_queries, read_sequences


def options(project: Path, **given: Any) -> Options:
    plain: dict[str, Any] = dict(
        old="", new="", catalog=project / "catalog", log=None, graph=None, out=project / "out", thresholds=Path("x"),
        task="next-item", part="test", requests=0, k=50, last=20, old_encoder=None, new_encoder=None, timeout_ms=None,
        cold_max=2, short=5, long=20, rows=8, device="cpu", seed=0,
    )  # fmt: skip
    return Options(**plain | given)


def write_log(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS = [
    {"request_id": "a", "history": ["i01", "gone", "i02"], "targets": ["i03", "i02", "i03", "lost"], "k": 10},
    {"text": " red flag "},
    {"history": ["i05"], "user": "u"},
]


def test_a_log_keeps_order_and_counts_what_it_leaves_out(project, tmp_path):
    traffic = open_traffic(
        options(project, log=write_log(tmp_path / "log.jsonl", ROWS)), Catalog.open(project / "catalog")
    )
    first, second, third = traffic.requests
    assert (first.query.query_id, first.query.history, first.query.targets, first.k) == ("a", (1, 2), (3,), 10)
    assert (second.query.query_id, second.query.title, second.query.history, second.k) == ("1", "red flag", (), 50)
    assert (third.query.history, third.query.targets) == ((5,), ())
    assert traffic.left_out == {
        "items of histories that the catalogue lacks": 1, "targets that the catalogue lacks": 1,
        "targets that are in the history already": 1,
    }  # fmt: skip
    assert traffic.clusters is None and traffic.saves is None


def test_parquet_and_json_lines_are_the_same_traffic(project, tmp_path):
    catalog = Catalog.open(project / "catalog")
    names = sorted({name for row in ROWS for name in row})
    columns = {name: [row.get(name) for row in ROWS] for name in names}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    logs = write_log(tmp_path / "log.jsonl", ROWS), tmp_path / "log.parquet"
    assert len({open_traffic(options(project, log=log), catalog).digest for log in logs}) == 1


def test_a_log_beside_a_graph_asks_and_the_graph_says_what_is_cold(project, tmp_path):
    catalog = Catalog.open(project / "catalog")
    log = write_log(tmp_path / "log.jsonl", ROWS)
    traffic = open_traffic(options(project, log=log, graph=project / "graph"), catalog)
    assert len(traffic.requests) == 3 and traffic.saves is not None and traffic.held_out_by is None


def test_every_line_of_a_text_file_asks(tmp_path):
    path = tmp_path / "queries.txt"
    path.write_text("red flag\n\nblue cat\n")
    assert [row.text for row in read_log(path)] == ["red flag", "blue cat"]


def test_requests_of_a_user_are_resampled_together_once_there_are_ten_users(project, tmp_path):
    catalog = Catalog.open(project / "catalog")
    rows = [{"history": ["i01"], "user": f"u{n % 10}"} for n in range(20)] + [{"history": ["i02"]}] * 2
    traffic = open_traffic(options(project, log=write_log(tmp_path / "log.jsonl", rows)), catalog)
    assert traffic.clusters is not None and traffic.resampled == "users"
    assert traffic.clusters[3] == traffic.clusters[13]
    assert len(np.unique(traffic.clusters)) == 12  # those without a user stand alone
    few = open_traffic(options(project, log=write_log(tmp_path / "few.jsonl", rows[:9])), catalog)
    assert few.clusters is None and few.resampled == "requests"


def test_a_graph_asks_with_what_it_holds_out_and_says_what_is_cold(project):
    catalog = Catalog.open(project / "catalog")
    sequences = read_sequences(project / "graph" / "sequences.parquet", catalog.item_index)
    traffic = open_traffic(options(project, graph=project / "graph"), catalog)
    assert [request.query for request in traffic.requests] == make_queries(sequences, "next-item", "test")
    counts = [sum(item in s.items + s.valid for s in sequences) for item in range(60)]
    assert traffic.saves is not None and traffic.saves.tolist() == counts
    before = open_traffic(
        options(project, graph=project / "graph", part="valid", task="board-completion"), catalog
    ).saves
    assert before is not None and before.tolist() == [sum(i in s.items for s in sequences) for i in range(60)]
    assert traffic.held_out_by is not None
    some = open_traffic(options(project, graph=project / "graph", requests=3), catalog)
    assert len(some.requests) == 3 and all(one in traffic.requests for one in some.requests)


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("log.jsonl", '{"target": ["i01"]}', "target is not a field; fields: request_id, history, text, k, targets, user"),
        ("log.jsonl", '{"k": 10}\n{"k": 0}', "row 2: k is '0'"),
        ("log.jsonl", '{"history": "i01"}', "row 1: history is 'i01'"),
        ("log.jsonl", '[1]', "row 1: the row is"),
        ("log.jsonl", "{", "is not readable"),
        ("log.jsonl", "\n", "holds no request"),
        ("log.parquet", "nonsense", "is not readable"),
        ("log.csv", "a,b", "allowed are files that end in .jsonl, .parquet, .txt"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_read_is_refused_in_a_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read_log(tmp_path / name)


def test_no_traffic_and_no_file_are_refused(project, tmp_path):
    with pytest.raises(UserError, match="no traffic: give --log"):
        open_traffic(options(project), Catalog.open(project / "catalog"))
    with pytest.raises(UserError, match=r"log .*absent\.jsonl does not exist"):
        read_log(tmp_path / "absent.jsonl")
