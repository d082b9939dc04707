"""`navigator-bench gold check`: from annotators' files to a set that cannot be changed.

All grades here are simulated by rules; none of them says anything about any catalogue.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.gold.check_tables import _code
from bench.gold.command import check, make, run
from bench.gold.frozen import open_gold
from navigator.contracts import Catalog, UserError
from train.prefer.grades import read_grades as read_for_training

Rule = Callable[[str, dict], int | str]


@pytest.fixture(scope="module")
def task(project, tmp_path_factory) -> Path:
    """Nine queries, two annotators who share more than half of them."""
    out = tmp_path_factory.mktemp("gold") / "task"
    make(
        project / "catalog",
        project / "graph",
        out,
        queries=9,
        depth=4,
        overlap=0.6,
        vectors={"x": str(project / "vectors")},
    )
    return out


def filled(task: Path, folder: Path, rule: Rule) -> dict[str, str]:
    """SIMULATED annotators: what they were given, graded by a rule."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        rows = list(csv.DictReader((task / "for-annotators" / f"{name}.csv").open()))
        for row in rows:
            row["grade"] = str(rule(name, row))
        with (folder / f"{name}.csv").open("w") as handle:
            writer = csv.DictWriter(handle, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    return {name: str(folder / f"{name}.csv") for name in ("a", "b")}


def by_pair(name: str, row: dict) -> int:
    return int(row["pair"], 16) % 5 + 1


def shared(task: Path) -> list[str]:
    return [row["pair"] for row in pq.read_table(task / "pairs.parquet").to_pylist() if len(row["annotators"]) == 2]


def test_a_clean_set_is_frozen_and_cannot_be_changed(project, task, tmp_path, capsys):
    grades = filled(task, tmp_path, by_pair)
    words = ["gold", "check", str(task), "--grades", ",".join(f"{n}={f}" for n, f in grades.items()), "--simulated"]
    words += ["--out", str(tmp_path / "check"), "--freeze", str(tmp_path / "gold")]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    pairs = pq.read_table(task / "pairs.parquet").to_pylist()
    gold = open_gold(tmp_path / "gold", answer["fingerprint"])
    assert gold.simulated and sum(map(len, gold.judged.values())) == len(pairs)
    assert all(gold.judged[p["query_id"]][p["item_id"]]["grade"] == int(p["pair"], 16) % 5 + 1 for p in pairs)
    assert answer["settled"]["equal grades"] == len(shared(task))
    assert "SIMULATED" in (tmp_path / "check" / "report.md").read_text()
    # the same again changes nothing; other grades are refused with the frozen one's fingerprint
    assert (
        check(task, grades, tmp_path / "check", freeze=tmp_path / "gold", simulated=True)["fingerprint"]
        == answer["fingerprint"]
    )
    other = filled(task, tmp_path / "other", lambda name, row: 1)
    with pytest.raises(UserError, match=answer["fingerprint"]):
        check(task, other, tmp_path / "check", freeze=tmp_path / "gold", simulated=True)
    # a row changed behind its back
    table = pq.read_table(tmp_path / "gold" / "gold.parquet")
    changed = table.to_pylist()
    changed[0]["grade"] = changed[0]["grade"] % 5 + 1
    pq.write_table(table.from_pylist(changed, table.schema), tmp_path / "gold" / "gold.parquet")
    with pytest.raises(UserError, match=f"{answer['fingerprint']} then, [0-9a-f]{{16}} now"):
        run(tmp_path / "gold", project / "catalog", project / "graph", tmp_path / "report")
    pq.write_table(table, tmp_path / "gold" / "gold.parquet")
    with pytest.raises(UserError, match="but 0123 is expected"):
        run(tmp_path / "gold", project / "catalog", project / "graph", tmp_path / "report", expect="0123")


def test_frozen_grades_are_what_preference_training_reads(project, task, tmp_path):
    check(task, filled(task, tmp_path, by_pair), tmp_path / "check", freeze=tmp_path / "gold", simulated=True)
    read = read_for_training(
        tmp_path / "gold" / "grades.parquet", Catalog.open(project / "catalog").item_index, strict=True
    )
    gold = open_gold(tmp_path / "gold")
    assert not read.bad and read.rows == sum(map(len, gold.judged.values())) and len(read.graded) == len(gold.queries)


def test_open_pairs_stop_the_freeze_until_a_third_person_decides(task, tmp_path):
    far = shared(task)[:3]
    grades = filled(task, tmp_path, lambda name, row: (1 if name == "a" else 5) if row["pair"] in far else 3)
    first = check(task, grades, tmp_path / "check", freeze=tmp_path / "gold", worst=2)
    assert first["exit_code"] == 1 and first["open"] == 3 and not (tmp_path / "gold").exists()
    assert "3 pairs differ by more than 1" in first["text"]
    report = json.loads((tmp_path / "check" / "report.json").read_text())
    assert [own["pair"] for own in report["worst"]] == far[:2] and report["worst"][0]["grades"] == {"a": 1, "b": 5}
    assert (tmp_path / "check" / "disagreements.png").stat().st_size > 1000
    asked = list(csv.DictReader((tmp_path / "check" / "for-third" / "third.csv").open()))
    assert sorted(row["pair"] for row in asked) == sorted(far)
    third = tmp_path / "third.csv"
    third.write_text("pair,grade\n" + "".join(f"{pair},4\n" for pair in far) + f"{shared(task)[3]},4\n")
    done = check(task, grades, tmp_path / "check", third=third, freeze=tmp_path / "gold")
    assert done["exit_code"] == 0 and done["settled"]["third person"] == 3
    gold = {row["pair"]: row for row in pq.read_table(task / "pairs.parquet").to_pylist()}
    judged = open_gold(tmp_path / "gold").judged
    assert all(judged[gold[p]["query_id"]][gold[p]["item_id"]]["grade"] == 4 for p in far)
    report = json.loads((tmp_path / "check" / "report.json").read_text())
    assert report["third"]["bad"] == {"pair that was not theirs": 1}  # nobody asked about that one


def test_missing_grades_stop_the_freeze_unless_they_are_allowed(task, tmp_path):
    grades = filled(task, tmp_path, lambda name, row: "" if row["pair"].startswith(("0", "1")) else 2)
    stopped = check(task, grades, tmp_path / "check", freeze=tmp_path / "gold")
    assert stopped["exit_code"] == 1 and stopped["missing"] > 0 and "have no grade" in stopped["blocked"]
    named = pq.read_table(tmp_path / "check" / "missing.parquet").to_pylist()
    assert {row["pair"] for row in named} == {
        row["pair"] for row in pq.read_table(task / "pairs.parquet").to_pylist() if row["pair"].startswith(("0", "1"))
    }
    done = check(task, grades, tmp_path / "check", freeze=tmp_path / "gold", allow_missing=True)
    judged = sum(map(len, open_gold(tmp_path / "gold").judged.values()))
    assert done["exit_code"] == 0 and judged == pq.read_metadata(task / "pairs.parquet").num_rows - done["missing"]


def test_unknown_annotators_are_refused(task, tmp_path):
    grades = filled(task, tmp_path, by_pair)
    with pytest.raises(UserError, match="no annotator 'c'"):
        check(task, {"c": grades["a"]}, tmp_path / "check")
    with pytest.raises(UserError, match="does not exist"):
        check(tmp_path / "nowhere", grades, tmp_path / "check")


def test_words_of_the_catalogue_stay_code_in_the_report():
    assert _code("a`b\n<script>") == "`a'b <script>`"
