"""The gate: what a rules file may say, when a rule stops a cut-over, and that a verdict cannot be talked round."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bench.shadow.measured import MEANING, names
from bench.shadow.thresholds import load_thresholds
from navigator.contracts import UserError, publish
from navigator.contracts.manifest import file_digest
from navigator.contracts.shadow import KIND, RuleResult, ShadowRule, ShadowSide, ShadowVerdict, gate, read_verdict

DEFAULT = Path(__file__).parents[1] / "configs" / "shadow" / "default.yaml"


def rules_file(folder: Path, text: str) -> Path:
    (folder / "rules.yaml").write_text(text)
    return folder / "rules.yaml"


def result(value: float | None, optional: bool = False, at_least: float | None = 1.0, at_most: float | None = None):
    rule = ShadowRule(at_least=at_least, at_most=at_most, reason="because", optional=optional)
    return RuleResult(metric="x", value=value, verdict=rule.outcome(value), **dict(rule))


@pytest.mark.parametrize(
    "value, verdict", [(0.99, "fail"), (1.0, "pass"), (2.0, "pass"), (2.01, "fail"), (None, "not measured")]
)
def test_both_ends_are_allowed(value, verdict):
    assert result(value, at_least=1.0, at_most=2.0).verdict == verdict


def test_what_could_not_be_measured_stops_unless_it_is_optional():
    assert gate([result(2.0), result(None, optional=True)]) == "pass"
    assert gate([result(2.0), result(None)]) == "fail"
    assert gate([result(0.0, optional=True)]) == "fail"  # optional is not advisory
    assert gate([]) == "fail"


def test_the_shipped_rules_are_read_and_each_gives_a_reason():
    thresholds = load_thresholds(DEFAULT)
    assert thresholds.digest == file_digest(DEFAULT)
    assert {"ndcg@10_difference_low", "newly_failed", "p95_ratio_low", "overlap@10"} <= set(thresholds.rules)
    assert all(len(rule.reason.split()) > 5 for rule in thresholds.rules.values())


def test_every_value_that_is_explained_can_be_named_and_values_of_slices_too():
    allowed = names()
    assert set(MEANING) <= set(allowed)
    assert {"cold.overlap@10", "long.recall@50_difference_high", "text-only.rbo"} <= set(allowed)


@pytest.mark.parametrize(
    "text, said",
    [
        (
            "overlap@11:\n  at_least: 1\n  reason: r\n",
            "overlap@11 is not a measured value; allowed are requests, compared",
        ),
        (
            "rbo:\n  at_lest: 1\n  reason: r\n",
            "rbo.at_lest is not a key; keys of a rule: at_least, at_most, reason, optional",
        ),
        ("rbo:\n  at_least: 1\n", "rbo.reason is missing"),
        ("rbo:\n  at_least: '1'\n  reason: r\n", "rbo.at_least is '1'"),
        ("rbo:\n  at_least: .nan\n  reason: r\n", "rbo.at_least is 'nan'"),
        ("rbo:\n  at_least: 1\n  optional: 1\n  reason: r\n", "rbo.optional is '1'"),
        ("rbo:\n  reason: r\n", "rbo has no limit"),
        ("rbo:\n  at_least: 1\n  at_most: 0\n  reason: r\n", "rbo allows nothing"),
        ("rbo: 1\n", "rbo is '1'"),
        ("", "hold no rules"),
        ("a: [", "are not YAML"),
    ],
)
def test_a_rules_file_with_a_mistake_is_refused_in_a_line(tmp_path, text, said):
    with pytest.raises(UserError) as refused:
        load_thresholds(rules_file(tmp_path, text))
    assert said in str(refused.value)


def test_a_missing_rules_file_names_the_shipped_one(tmp_path):
    with pytest.raises(UserError, match=r"do not exist; start from a copy of configs/shadow/default\.yaml"):
        load_thresholds(tmp_path / "absent.yaml")


# ---- the verdict as others read it


def verdict(rules: list[RuleResult]) -> ShadowVerdict:
    old, new = (ShadowSide(source=name, fingerprints={"vectors": name}) for name in ("a", "b"))
    return ShadowVerdict(
        verdict=gate(rules), old=old, new=new, requests=3, traffic="t", thresholds="d", rules=rules, created_at="now"
    )


def shadow_report(folder: Path, document: dict) -> Path:
    with publish(folder, KIND, {}, {}) as work:
        (work.path / "report.json").write_text(json.dumps(document))
    return folder


def test_a_verdict_is_read_from_its_report(tmp_path):
    made = verdict([result(2.0)])
    found = read_verdict(shadow_report(tmp_path / "r", {"verdict": made.model_dump(), "other": 1}))
    assert found == made and found.new.fingerprints == {"vectors": "b"}


def test_a_verdict_that_its_own_values_contradict_is_refused(tmp_path):
    failed = verdict([result(0.0)]).model_dump()
    with pytest.raises(ValidationError, match="its rules say fail"):
        ShadowVerdict.model_validate(failed | {"verdict": "pass"})
    failed["rules"][0]["verdict"] = "pass"
    with pytest.raises(UserError, match="holds no shadow verdict of schema 1"):
        read_verdict(shadow_report(tmp_path / "r", {"verdict": failed | {"verdict": "pass"}}))


def test_a_report_that_was_changed_is_not_believed(tmp_path):
    folder = shadow_report(tmp_path / "r", {"verdict": verdict([result(0.0)]).model_dump()})
    (folder / "report.json").write_text(json.dumps({"verdict": verdict([result(2.0)]).model_dump()}))
    with pytest.raises(UserError, match="was changed after it was written"):
        read_verdict(folder)


def test_a_folder_without_a_verdict_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist; make one with `navigator-bench shadow"):
        read_verdict(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no shadow verdict"):
        read_verdict(shadow_report(tmp_path / "r", {"systems": {}}))
