"""The command line: what people type, what they get, and one line when it is wrong."""

import json
from pathlib import Path

import pytest

from navigator.cli_tools import run_commands
from navigator.contracts import UserError


def paint(
    catalog: Path,
    out: Path,
    n: int = 3,
    names: list[str] | None = None,
    columns: dict[str, str] | None = None,
    loud: bool = False,
) -> dict:
    """Paint a catalogue.

    Args:
        catalog: the catalogue folder.
        out: where the picture goes.
        n: how many.
        names: which.
        columns: renamed columns.
        loud: say so.
    """
    if n < 1:
        raise UserError(f"n is {n};\nallowed are 1 and more")
    return {"catalog": str(catalog), "out": str(out), "n": n, "names": names, "columns": columns, "loud": loud}


def run(capsys, *argv: str) -> tuple[int, str, str]:
    code = run_commands("nav", {"paint": paint, "more": {"paint": paint}}, list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def test_bare_words_flags_lists_and_mappings(capsys):
    words = ("paint", "cat", "--out", "o", "--names", "01,b", "--columns", "item_id=sku,title=name", "--loud", "--json")
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    want = {
        "catalog": "cat",
        "out": "o",
        "n": 3,
        "names": ["01", "b"],
        "columns": {"item_id": "sku", "title": "name"},
        "loud": True,
    }
    assert json.loads(out) == want
    assert json.loads(run(capsys, "more", "paint", "cat", "o", "5", "--json")[1])["n"] == 5


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("dance",), "no command 'dance'; commands: paint, more"),
        (("paint", "cat"), "required: out"),
        (("paint", "cat", "o", "--nn", "3"), "valid keys: config, json, catalog, out, n, names"),
        (("paint", "cat", "o", "--n", "many"), "many"),
        (("paint", "cat", "o", "--n", "0"), "n is 0; allowed are 1 and more"),
        (("paint", "cat", "o", "--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, argv, says):
    code, out, err = run(capsys, *argv)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_help_names_every_option(capsys):
    code, out, _ = run(capsys, "paint", "--help")
    assert code == 0 and all(f"--{name}" in out for name in ("catalog", "out", "n", "names", "columns", "loud", "json"))
    assert "where the picture goes" in out
