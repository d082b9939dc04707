"""`navigator recommend` by its command: why, whose words, fewer than asked, bad requests."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from navigator.cli import main
from navigator.contracts import Catalog, UserError
from navigator.contracts.catalog import BOARDS
from navigator.pipeline import Pipeline
from navigator.recommend_command import Asked, who_asks
from pipeline_worlds import fresh


def command(home: Path, project: Path, *words: str) -> list[str]:
    argv = ["recommend", "--catalog", str(project / "catalog"), *words]
    return argv + [word for name in ("model", "vectors", "index") for word in (f"--{name}", str(home / name))]


def test_the_command_says_why(refined: Path, project: Path, capsys, tmp_path: Path):
    words = (
        "--board",
        "b1",
        "--k",
        "3",
        "--timings",
        "--weights",
        "model=2,content=0",
        "--sheet",
        str(tmp_path / "s.png"),
    )
    assert main([*command(refined, project, *words), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["query"] == "board b1 b1" and document["title"] == "b1" and document["ranked"]
    assert document["history"] == [f"i{n:02}" for n in range(4, 10)] and document["candidates"] == 54
    assert document["options"]["weights"] == {
        "model": 2.0,
        "content-graph": 1.0,
        "content": 0.0,
        "text": 1.0,
        "picture": 1.0,
    }
    assert [list(r) for r in document["results"]] == [
        ["item", "title", "score", "sources", "ranking", "because", "board"]
    ] * 3
    assert set(document["timings_ms"]) == {"retrieve", "rank", "diversify", "explain"}
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    assert main(command(refined, project, *words)) == 0
    text = capsys.readouterr().out
    first = document["results"][0]
    assert f"  1  {first['score']:.5f}  {first['item']}  {first['title']}" in text.splitlines()
    assert f"because of {first['because']['item']} {first['because']['title']} (cosine" in text
    assert "in the order of retrieval" not in text and "retrieve " in text and text.rstrip().endswith("s.png")
    assert main(command(refined, project, "--board", "b1", "--ranking", "0")) == 0
    assert "in the order of retrieval" in capsys.readouterr().out
    assert main(command(refined, project, "--user", "u1", "--k", "50", "--retrieve", "52")) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if "because of" in line]) == 50


def test_the_model_reads_the_title_unless_told_not_to(refined: Path, project: Path, tmp_path: Path, capsys):
    shutil.copytree(refined, tmp_path / "home")
    trained = fresh(refined, project, head=True).recommender
    trained.model.save_pretrained(tmp_path / "home" / "model")
    answers = []
    for words in ((), ("--titles", "false")):
        assert main([*command(tmp_path / "home", project, "--board", "b1", *words), "--json"]) == 0
        answers.append([(r["item"], r["score"]) for r in json.loads(capsys.readouterr().out)["results"]])
    home = tmp_path / "home"
    direct = Pipeline.open(home / "model", home / "vectors", home / "index", project / "catalog")
    for answer, title in zip(answers, ("b1", ""), strict=True):
        got = direct.recommend([f"i{n:02}" for n in range(4, 10)], 10, title=title).results
        assert answer == [(r.item, r.score) for r in got]
    assert answers[0] != answers[1]


def test_a_board_without_items_asks_by_its_title(project: Path, tmp_path: Path):
    shutil.copytree(project / "catalog", tmp_path / "catalog")
    catalog = Catalog.open(tmp_path / "catalog")
    new = pa.table({"board_id": ["new"], "title": ["red flags"], "owner_id": ["o"]}, schema=BOARDS)
    pq.write_table(pa.concat_tables([catalog.table("boards"), new]), tmp_path / "catalog" / "boards.parquet")
    assert who_asks(catalog, "new", None, None, None) == Asked("board new red flags", "red flags", [], "")
    assert who_asks(catalog, None, None, ["i03"], " blue ") == Asked("like 1 items", "", ["i03"], "blue")


def test_fewer_than_asked_for_is_said(refined: Path, project: Path, capsys):
    assert main(command(refined, project, "--items", "i01,i02", "--k", "60")) == 0
    assert "58 of 60: no more items are left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--items", "i01", "--k", "61"), "k is 61; allowed are 1 to 60"),
        (("--items", "i01", "--k", "0"), "k is 0; allowed are 1 to 60"),
        (("--items", "i01", "--k", "9", "--retrieve", "8"), "retrieve is 8 and k is 9"),
        (("--items", "i01", "--decay", "1.01"), "decay is 1.01"),
        (("--items", "i01", "--weights", "model=x"), "weights"),
        (("--items", "i01", "--weights", "taste=1"), "source 'taste'"),
        (("--items", "i01", "--keyword", "dog"), "keyword 'dog'"),
        (("--items", "i01", "--board", "b1"), "give one of --board ID"),
        (("--k", "3"), "give one of --board ID"),
        (("--text", " "), "give one of --board ID"),
        (("--board", "nope"), "board 'nope' is not in catalog"),
        (("--user", "nope"), "user 'nope' is not in catalog"),
        (("--items", "i01,nope"), "item 'nope' is not in catalog"),
    ],
)
def test_bad_requests_are_one_line_and_exit_code_2(refined: Path, project: Path, capsys, words, says):
    code = main(command(refined, project, *words))
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert (code, out) == (2, "") and last.startswith("error: ") and says in last and "Traceback" not in err


def test_an_index_of_other_vectors_and_an_item_without_a_vector(refined: Path, project: Path, tmp_path: Path, capsys):
    shutil.copytree(refined, tmp_path / "home")
    manifest = tmp_path / "home" / "index" / "manifest.json"
    built_from = json.loads(manifest.read_text())["inputs"]["vectors"]
    manifest.write_text(manifest.read_text().replace(built_from, "0" * 16))
    assert main(command(tmp_path / "home", project, "--items", "i01")) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "0" * 16 in line and built_from in line and "navigator index" in line
    with pytest.raises(UserError, match="item 'i99' has no vector in this store"):
        fresh(refined, project).recommend(["i01", "i99"], 3)
