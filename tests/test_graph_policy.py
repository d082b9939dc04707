"""Who may read what: every refusal is one line that helps and a line in the audit log."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graph.audit import audit_path, read_audit, verify_audit
from graph.policy import DAY, DEFAULT, load_policy
from navigator.contracts import UserError
from policy_worlds import policy_file, rules


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
