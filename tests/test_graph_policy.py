"""Who may read what: every refusal is one line that helps and a line in the audit log, and the log cannot be thinned."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from graph.audit import NOTHING, audit_path, audited, read_audit, verify_audit
from graph.commands import add_edges, build_graph
from graph.forget import forget
from graph.policy import DAY, DEFAULT, load_policy
from graph.relation import HOLDS, SAVED
from graph.stats import stats
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES

ROOT = Path(__file__).parents[1]
APPEND = """
import sys
from pathlib import Path
from graph.audit import audited
for n in range(int(sys.argv[2])):
    with audited(Path(sys.argv[1]), "graph stats", "stats", {"writer": sys.argv[3], "n": n, "long": "x" * 5000}):
        pass
"""


def rules(**changes: Any) -> dict[str, Any]:
    plain = {"edge_types": ["holds"], "fields": ["time"], "minimum_group_size": 3, "retention_days": None}
    return {name: value for name, value in (plain | changes).items() if value != "absent"}


def policy_file(folder: Path, **purposes: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"purposes": purposes}, sort_keys=False))
    return path


def test_default_policy_has_the_purposes_the_commands_ask_for():
    policy = load_policy()
    assert list(policy.purposes) == ["build", "train", "bench", "stats", "export", "forget"]
    assert policy.purpose("stats").minimum_group_size > 1 < policy.purpose("export").minimum_group_size
    assert "follows" not in policy.purpose("export").edge_types and "titles" not in policy.purpose("export").fields


def test_a_graph_carries_the_rules_and_not_the_spelling(tmp_path: Path):
    path = policy_file(tmp_path, look=rules())
    read = load_policy(path)
    read.write(tmp_path)
    carried = load_policy(tmp_path)
    assert carried.fingerprint == read.fingerprint and carried.purpose("look").minimum_group_size == 3
    bytes_before = (tmp_path / "policy.yaml").read_bytes()
    path.write_text("# a comment\n" + path.read_text())
    load_policy(path).write(tmp_path)
    assert (tmp_path / "policy.yaml").read_bytes() == bytes_before
    assert load_policy(policy_file(tmp_path, look=rules(minimum_group_size=4))).fingerprint != read.fingerprint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edge_types": ["savd"]}, "purposes.look.edge_types.0 is 'savd'; allowed are holds, saved, has, about,"),
        ({"edge_types": "saved"}, "purposes.look.edge_types is 'saved'; allowed is a list of edge types"),
        ({"fields": ["colour"]}, "purposes.look.fields.0 is 'colour'; allowed are time, weight, titles"),
        ({"fields": "absent"}, "purposes.look.fields is missing; keys here: edge_types, fields, minimum_group_size,"),
        ({"minimum_group_size": 0}, "purposes.look.minimum_group_size is '0'; allowed is a whole number from 1"),
        ({"minimum_group_size": "5"}, "purposes.look.minimum_group_size is '5'; allowed is a whole number from 1"),
        ({"retention_days": 0}, "purposes.look.retention_days is '0'; allowed is a whole number of days from 1, or null"),
        ({"minimum_groupsize": 2}, "purposes.look.minimum_groupsize is not a key; keys here: edge_types, fields,"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named_with_what_is_allowed(tmp_path: Path, changes: dict[str, Any], said: str):
    path = policy_file(tmp_path, look=rules(**changes))
    with pytest.raises(UserError) as refused:
        load_policy(path)
    line = str(refused.value)
    assert line.startswith(f"policy {path}: {said}") and str(DEFAULT) in line and "\n" not in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("purposes: [", "is not YAML"),
        ("", "the file is 'None'; allowed is a mapping with the key purposes"),
        ("- 1", "the file is '[1]'; allowed is a mapping with the key purposes"),
        ("purposes: {}", "purposes is '{}'; allowed is a mapping of purposes"),
        ("purposes: {look: 3}", "purposes.look is '3'; allowed is a mapping"),
        ("rules: {}", "purposes is missing; keys here: purposes"),
    ],
)
def test_a_file_that_is_no_policy(tmp_path: Path, text: str, said: str):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        load_policy(tmp_path / "mine.yaml")
    assert said in str(refused.value) and "mine.yaml" in str(refused.value) and "\n" not in str(refused.value)


def test_a_policy_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"policy .*none\.yaml does not exist; start from a copy of"):
        load_policy(tmp_path / "none.yaml")


def test_refusals_name_the_purpose_and_the_way_out_and_are_logged(tmp_path: Path):
    path = policy_file(tmp_path, look=rules(), deep=rules(edge_types=["holds", "saved"], fields=["titles"]))
    taste_graph = tmp_path / "g"
    purpose = load_policy(path).purpose("look", taste_graph)
    purpose.check_types(["holds", "rev_holds"])
    purpose.check_field("time")
    purpose.check_group(3, "the cell")
    assert not audit_path(taste_graph).exists()
    other = "purposes that may: deep"
    for asked, said in (
        (
            lambda: purpose.check_types(["holds", "saved"]),
            f"may not read edge type 'saved'; its edge types: holds; {other}",
        ),
        (lambda: purpose.check_types(["rev_saved"]), "may not read edge type 'rev_saved'"),
        (lambda: purpose.check_types(["follows"]), "no purpose of this policy may; it has to be changed"),
        (lambda: purpose.check_field("titles"), f"may not read field 'titles'; its fields: time; {other}"),
        (lambda: purpose.check_group(2, "the cell"), "the cell comes from 2 owners; purpose 'look'"),
        (lambda: load_policy(path).purpose("steal", taste_graph), "has no purpose 'steal'; its purposes: look, deep"),
    ):
        with pytest.raises(UserError) as refused:
            asked()
        assert said in str(refused.value) and str(path) in str(refused.value)
        line = read_audit(audit_path(taste_graph))[-1]
        assert (line["outcome"], line["reason"]) == ("refused", str(refused.value))
        assert line["policy"] == purpose.policy and line["purpose"] in ("look", "steal")
    assert len(read_audit(audit_path(taste_graph))) == 6 and verify_audit(audit_path(taste_graph)) == []


def test_minimum_group_size_keeps_small_groups_in(tmp_path: Path):
    purpose = load_policy(policy_file(tmp_path, look=rules())).purpose("look")
    assert purpose.large_enough(np.array([1, 2, 3, 40])).tolist() == [False, False, True, True]


def test_retention_counts_from_the_moment_of_the_build(tmp_path: Path):
    path = policy_file(tmp_path, build=rules(retention_days=2), look=rules(retention_days=2), keep=rules())
    build, moment = load_policy(path).purpose("build"), 10 * DAY
    times = np.array([8 * DAY - 1, 8 * DAY, 10 * DAY, -1])
    assert build.expired(times, moment).tolist() == [True, False, False, True]  # no time: nobody can show it is young
    assert not load_policy(path).purpose("keep").expired(times, moment).any()


@pytest.mark.parametrize(("kept", "said"), [(None, "for ever"), (31, "for 31 days")])
def test_no_purpose_may_need_less_than_the_build_keeps(tmp_path: Path, kept: int | None, said: str):
    path = policy_file(tmp_path, build=rules(retention_days=kept), look=rules(retention_days=30))
    with pytest.raises(UserError, match=rf"purposes\.look\.retention_days is 30, but a build keeps edges {said}; give"):
        load_policy(path)


def test_a_block_leaves_one_line_however_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NAVIGATOR_ACTOR", "ada")
    out, source = tmp_path / "out", tmp_path / "source"
    source.mkdir()
    with audited(out, "refine", "export", {"dim": 8}, also=source) as entry:
        entry.policy, entry.artefacts["graph"] = "p1", "f1"
    with pytest.raises(UserError), audited(out, "refine", "export") as entry:
        entry.secret["u7"] = "(the user)"
        raise UserError("user 'u7' is unknown")
    with pytest.raises(ZeroDivisionError), audited(out, "refine", "export"):
        _ = 1 / 0
    done, refused, failed = read_audit(audit_path(out))
    assert {key: done[key] for key in ("who", "purpose", "what", "outcome", "policy", "artefacts", "parameters")} == {
        "who": "ada", "purpose": "export", "what": "refine", "outcome": "done", "policy": "p1", "artefacts": {"graph": "f1"},
        "parameters": {"dim": 8},
    }  # fmt: skip
    assert (refused["outcome"], refused["reason"]) == ("refused", "user '(the user)' is unknown")
    assert failed["outcome"] == "failed" and failed["reason"].startswith("ZeroDivisionError: ")
    assert done["when"].endswith("+00:00") and [line["line"] for line in (done, refused, failed)] == [1, 2, 3]
    assert [line["what"] for line in read_audit(audit_path(source))] == ["refine"]


def test_the_login_name_stands_in_for_an_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NAVIGATOR_ACTOR", " ")
    monkeypatch.setenv("LOGNAME", "grace")
    with audited(tmp_path / "out", "refine", "export"):
        pass
    assert read_audit(audit_path(tmp_path / "out"))[0]["who"] == "grace"


def test_nothing_is_done_without_a_log(tmp_path: Path):
    (tmp_path / "file").write_text("")
    ran = False
    with pytest.raises(UserError, match="cannot be written"), audited(tmp_path / "file" / "out", "refine", "export"):
        ran = True
    assert not ran


def log_of(folder: Path, n: int = 4) -> tuple[Path, list[str]]:
    """A log of n lines, and the heads after each."""
    heads = []
    for number in range(n):
        with audited(folder / "out", "graph stats", "stats", {"n": number}) as entry:
            pass
        heads.append(entry.head)
    return audit_path(folder / "out"), heads


def test_altered_and_removed_lines_are_found(tmp_path: Path):
    log, heads = log_of(tmp_path)
    whole = log.read_text().splitlines(keepends=True)
    assert json.loads(whole[0])["previous"] == NOTHING and verify_audit(log, heads[1]) == []

    def problems(lines: list[str], head: str = "") -> list[str]:
        log.write_text("".join(lines))
        return verify_audit(log, head)

    broken = "does not follow the line before it: one was altered or removed"
    assert problems([whole[0], whole[2], whole[3]])[0] == f"line 2 {broken}"
    assert problems(whole[1:])[0].startswith("line 1 does not follow")
    altered = whole[1].replace('"n": 1', '"n": 7')
    assert altered != whole[1]
    assert problems([whole[0], altered, *whole[2:]]) == [f"line 3 {broken}"]
    assert problems([whole[0], whole[2], whole[1], whole[3]])[0].startswith("line 2 ")
    assert problems(whole[:3]) == []  # the end alone is not held by anything in the file,
    assert problems(whole[:3], heads[3])[0].endswith("the end was cut off, or the log was rewritten")  # but by a head
    assert problems([*whole[:2], "{}\n", *whole[2:]])[0] == "line 3 is not an audit line (torn or overwritten)"


def test_a_torn_line_stays_visible_and_does_not_swallow_the_next(tmp_path: Path):
    log, _ = log_of(tmp_path, 2)
    log.write_bytes(log.read_bytes() + b'{"line": 3, "wh')
    with audited(tmp_path / "out", "graph stats", "stats"):
        pass
    assert json.loads(log.read_text().splitlines()[-1])["line"] == 4
    assert verify_audit(log) == ["line 3 is not an audit line (torn or overwritten)"]


def test_writers_at_the_same_time_neither_tear_nor_fork_the_chain(tmp_path: Path):
    out, writers, lines = tmp_path / "out", 4, 20
    running = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(out), str(lines), str(w)], cwd=ROOT) for w in range(writers)
    ]
    assert [process.wait() for process in running] == [0] * writers
    said = read_audit(audit_path(out))
    assert [line["line"] for line in said] == list(range(1, writers * lines + 1)) and verify_audit(
        audit_path(out)
    ) == []
    assert {(line["parameters"]["writer"], line["parameters"]["n"]) for line in said} == {
        (str(w), n) for w in range(writers) for n in range(lines)
    }


def built(folder: Path, policy: Path | None) -> tuple[Path, Catalog]:
    """Three users with five saves each, two boards; a graph under the policy."""
    rows: dict[str, list[dict[str, Any]]] = {
        "items": [{"item_id": f"i{i}", "title": f"t{i}", "keywords": [], "text": ""} for i in range(9)],
        "boards": [{"board_id": f"b{b}", "title": f"about {b}", "owner_id": f"u{b}"} for b in range(2)],
        "board_items": [{"board_id": f"b{b}", "item_id": f"i{i + b}"} for b in range(2) for i in range(6)],
        "interactions": [
            {"user_id": f"u{u}", "item_id": f"i{i + u}", "action": "save", "at": DAY * (10 + i)}
            for u in range(3)
            for i in range(5)
        ],
        "rejects": [],
    }
    with publish(folder / "catalog", "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), work.path / f"{name}.parquet")
    build_graph(folder / "catalog", folder / "g", walks=5, policy=policy)
    return folder / "g", Catalog.open(folder / "catalog")


def test_a_forbidden_edge_type_comes_out_of_no_door(tmp_path: Path):
    every = {"edge_types": ["holds", "saved", "has", "about"], "fields": ["time", "titles"], "minimum_group_size": 1}
    shy = rules(edge_types=["holds", "has", "about"], fields=["titles"])
    path = policy_file(tmp_path, build=rules(**every), train=rules(**every), shy=shy)
    folder, catalog = built(tmp_path, path)
    taste_graph = TasteGraph.open(folder, catalog, purpose="shy")
    doors = {
        "relation": lambda: taste_graph.relation("saved"), "edges": lambda: taste_graph.edges(SAVED),
        "hetero": taste_graph.hetero, "histories": lambda: taste_graph.histories("next-item"),
        "sequences": lambda: taste_graph.sequences, "pairs": lambda: taste_graph.pairs,
        "hard_negatives": lambda: taste_graph.hard_negatives,
    }  # fmt: skip
    before = len(read_audit(audit_path(folder)))
    for count, (door, ask) in enumerate(doors.items(), 1):
        with pytest.raises(UserError, match=r"purpose 'shy' of policy .*may not read edge type 'saved'.*train") as no:
            ask()
        lines = read_audit(audit_path(folder))
        assert len(lines) == before + count, door
        assert (lines[-1]["purpose"], lines[-1]["outcome"], lines[-1]["reason"]) == ("shy", "refused", str(no.value))
    assert taste_graph.edges(HOLDS).src.size and len(taste_graph.histories("board-completion").items)
    assert verify_audit(audit_path(folder)) == []
    assert TasteGraph.open(folder, catalog).edges(SAVED).src.size


def test_fields_that_a_purpose_may_not_read_are_not_there(tmp_path: Path):
    every = {"edge_types": ["holds", "saved", "has", "about"], "fields": ["time", "titles"]}
    dull = rules(edge_types=["holds", "saved"], fields=[])
    folder, catalog = built(tmp_path, policy_file(tmp_path, build=rules(**every), train=rules(**every), dull=dull))
    full, bare = (TasteGraph.open(folder, catalog, purpose=name) for name in ("train", "dull"))
    assert (full.edges(SAVED).time >= 10 * DAY - DAY).all() and (bare.edges(SAVED).time == -1).all()
    assert {s.title for s in full.sequences} == {"", "about 0", "about 1"} and {s.title for s in bare.sequences} == {""}
    with pytest.raises(UserError, match="may not read field 'titles'"):
        bare.node_ids("interest")


def test_opening_for_an_unknown_purpose(tmp_path: Path):
    folder, catalog = built(tmp_path, None)
    with pytest.raises(UserError, match="has no purpose 'sell'; its purposes: build, train, bench, stats"):
        TasteGraph.open(folder, catalog, purpose="sell")
    last = read_audit(audit_path(folder))[-1]
    assert (last["what"], last["purpose"], last["outcome"]) == ("open", "sell", "refused")


def test_a_build_its_policy_forbids_leaves_a_line_and_no_graph(tmp_path: Path):
    path = policy_file(tmp_path, build=rules(edge_types=["holds"]), train=rules())
    with pytest.raises(UserError, match=r"purpose 'build' of policy .* may not read edge type 'saved'"):
        built(tmp_path, path)
    line = read_audit(audit_path(tmp_path / "g"))[-1]
    assert (line["what"], line["outcome"]) == ("graph build", "refused") and "may not read" in line["reason"]
    assert not (tmp_path / "g").exists()


def test_a_build_leaves_out_what_is_older_than_its_policy_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Saves on days 10 to 14, boards without a time; built on day 14 with 2 days kept: days 12, 13 and 14 are left."""
    monkeypatch.setattr("time.time", lambda: float(14 * DAY))
    every = {"edge_types": ["holds", "saved", "has", "about"], "fields": ["time", "titles"], "retention_days": 2}
    folder, catalog = built(tmp_path, policy_file(tmp_path, build=rules(**every), train=rules(**every)))
    saved = [s for s in TasteGraph.open(folder, catalog).sequences if s.task == "next-item"]
    assert {s.owner: len(s.items + s.valid + s.test) for s in saved} == {"u0": 3, "u1": 3, "u2": 3}
    refused = pq.read_table(folder / "rejects.parquet").to_pylist()
    assert [row["reason"] for row in refused if row["relation"] == "saved"] == ["older than the policy keeps"] * 6
    assert sum(row["relation"] == "holds" for row in refused) == 12  # no time: nobody can show that they are young


def test_what_tells_of_single_owners_needs_a_purpose_for_it(tmp_path: Path):
    folder, catalog = built(tmp_path, None)
    TasteGraph.open(folder, catalog, "train").purpose.check_single_owners("vectors of single users")
    with pytest.raises(
        UserError, match=r"purpose 'stats'.* fewer than 5 .* vectors of single users need a purpose with"
    ):
        TasteGraph.open(folder, catalog, "stats").purpose.check_single_owners("vectors of single users")
    assert read_audit(audit_path(folder))[-1]["outcome"] == "refused"


def test_a_missing_input_gets_no_log(tmp_path: Path):
    """Mistyped: neither beside what is read nor beside what a line would go to as well; what is made keeps its log."""
    folder, catalog = built(tmp_path, None)
    for command in (
        lambda: stats(tmp_path / "nog", catalog.path),
        lambda: forget("u0", tmp_path / "nog", catalog.path),
        lambda: forget("u0", tmp_path / "nog", tmp_path / "nowhere"),
        lambda: add_edges(tmp_path / "nog", tmp_path / "e.parquet", catalog.path, tmp_path / "out"),
        lambda: build_graph(tmp_path / "nowhere", tmp_path / "out2"),
    ):
        with pytest.raises(UserError, match="does not exist"):
            command()
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == ["g.audit.jsonl", "out.audit.jsonl"]
    with pytest.raises(UserError, match="'ghost' is not"):
        forget("ghost", folder, catalog.path)
    assert read_audit(audit_path(folder))[-1]["outcome"] == "refused"
