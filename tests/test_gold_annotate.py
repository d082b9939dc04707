"""Gold sets: what annotators see, what they must not, and nothing in it that a browser or a spreadsheet would run."""

import csv
import json
import re

import pyarrow.parquet as pq

from bench.cli import main
from bench.gold.annotate import Shown, Things, as_script, csv_text, page, shuffled

NASTY = '</script><img src=x onerror="alert(1)">&\u2028 "q"'


def test_files_hide_markup_and_formulas():
    asked = [Shown("board", NASTY, ["h"], [("p1", "i"), ("p2", "j")])]
    things = Things({"h": "=cmd()", "i": NASTY, "j": "@x"}, {"i": b"\x89PNG..", "j": b"<svg onload=alert(1)>"})
    text = page("ann", "task", asked, things)
    assert (
        text.count("</script>") == 1
        and "<img src=x" not in text
        and "svg" not in text.split("<script>")[1].split("</script>")[0]
    )
    data = json.loads(re.search(r"const TASK = (.*);\n", text).group(1))
    assert data["queries"][0][1] == NASTY and data["items"][1][0] == NASTY
    assert data["items"][1][1].startswith("data:image/png;base64,") and data["items"][2][1] is None
    rows = list(csv.DictReader(csv_text(asked, things).splitlines()))
    assert [row["pair"] for row in rows] == ["p1", "p2"] and rows[1]["item"] == "'@x"
    assert as_script("\u2028<") == '"\\u2028\\u003c"'


def test_every_annotator_has_an_order_of_their_own_and_queries_stay_together():
    asked = [Shown("board", f"t{n}", [], [(f"{n}{i}", "x") for i in range(9)]) for n in range(9)]
    a, b = (shuffled(asked, name, 0) for name in ("ann", "ben"))
    assert [one.title for one in a] != [one.title for one in b] and a == shuffled(asked, "ann", 0)
    for order in (a, b):
        assert sorted(one.title for one in order) == [one.title for one in asked]
        assert all(sorted(one.pairs) == asked[int(one.title[1])].pairs for one in order)
    assert a[0].pairs != sorted(a[0].pairs)


def test_make_writes_a_task_whose_annotators_learn_nothing_of_the_systems(project, tmp_path, capsys):
    words = [
        str(project / "catalog"),
        str(project / "graph"),
        "--out",
        str(tmp_path / "task"),
        "--queries",
        "9",
        "--depth",
        "3",
    ]
    words += ["--vectors", f"content-secret={project / 'vectors'}", "--annotators", "ann,ben", "--overlap", "0.5"]
    words += ["--models", f"swapped-secret={project / 'swapped'}:{project / 'vectors'}", "--device", "cpu"]
    assert main(["gold", "make", *words]) == 0
    out = capsys.readouterr().out
    assert "9 queries" in out and "give away only" in out and "only popularity has an answer" not in out
    pairs = pq.read_table(tmp_path / "task" / "pairs.parquet").to_pylist()
    queries = {row["query_id"]: row for row in pq.read_table(tmp_path / "task" / "queries.parquet").to_pylist()}
    assert {row["kind"] for row in queries.values()} == {"board", "title", "user"}
    finders = {by.partition(":")[0] for row in pairs for by in row["found_by"]}
    assert finders == {"popularity", "item-knn", "content-secret", "swapped-secret", "held-out saves"}
    assert not any(row["item_id"] in queries[row["query_id"]]["history"] for row in pairs)
    given = {}
    for name in ("ann", "ben"):
        files = [(tmp_path / "task" / "for-annotators" / f"{name}.{kind}").read_text() for kind in ("csv", "html")]
        assert not any(word in text for text in files for word in ("secret", "popularity", "item-knn", "held-out"))
        given[name] = [row["pair"] for row in csv.DictReader(files[0].splitlines())]
        assert sorted(given[name]) == sorted(row["pair"] for row in pairs if name in row["annotators"])
        data = json.loads(re.search(r"const TASK = (.*);\n", files[1]).group(1))
        assert [pair[0] for pair in data["pairs"]] == given[name]
        assert not re.search(r"https?://|src=\"|href=\"|@import|url\(", files[1].replace(json.dumps(data), ""))
    assert len(set(given["ann"]) & set(given["ben"])) > 0 and set(given["ann"]) | set(given["ben"]) == {
        r["pair"] for r in pairs
    }
    assert main(["gold", "make", *words]) == 0 and "unchanged" in capsys.readouterr().out
