"""The words of a taste report: narrow tables, every comparison in report.md, the models' alone in a terminal."""

import pytest

from bench.encoder.figures import Figure
from bench.taste.figures import Against, Measured, SliceRow, SystemRow, TasteReport
from bench.taste.tables import compact_tables, compared, markdown
from navigator.contracts.report import Device, Split

RIVALS = [f"rival-number-{i}" for i in range(8)]
METRICS = ("ndcg@10", "hr@10", "recall@10", "recall@50")
WIDTH = 100


def figure(mean: float) -> Figure:
    return Figure(mean=mean, ci95=(mean - 0.01, mean + 0.01))


def report(models: list[str], systems: list[str], rivals: list[str]) -> TasteReport:
    """One slice of 5 queries; system number i has the mean i / 100."""
    means = {name: i / 100 for i, name in enumerate(systems)}
    measured = {
        name: Measured(
            figures={m: figure(mean) for m in METRICS},
            against={
                rival: Against(
                    minus={m: figure(mean - means[rival]) for m in METRICS}, times=figure(2.0) if rival != RIVALS[0] else None
                )
                for rival in rivals if rival != name
            },
        )
        for name, mean in means.items()
    }  # fmt: skip
    row = SystemRow(source="", runs=[], settings={}, tried={}, unanswered=0, seconds=1.0)
    return TasteReport(
        seed=0, device=Device(cpu="any", cores=1), commit=None, versions={}, created_at="2026-11-21", command="", inputs={},
        config={"models": models, "scores": [], "rivals": rivals}, protocol=["asked"], task="next-item",
        split=Split(description="d", part="test", queries="q"), n_queries=5, n_targets=5, n_items=9, n_tuning=None, unasked=0,
        systems=dict.fromkeys(systems, row), slices={"all": SliceRow(n=5, clusters=5, systems=measured)},
    )  # fmt: skip


def test_a_terminal_shows_every_system_and_the_models_against_every_rival_in_few_columns() -> None:
    text = compact_tables(report(["ours@0=a:b", "ours@1=a:b"], [*RIVALS, "ours"], RIVALS))
    lines = text.splitlines()
    assert max(len(line) for line in lines[2:]) <= WIDTH
    assert [line.split()[0] for line in lines if line.startswith("rival-number")] == RIVALS
    pairs = [line.split()[:4] for line in lines if line.startswith("ours") and "[" in line]
    assert [pair[1] for pair in pairs] == RIVALS
    assert pairs[0][2] == "+0.0800" and "[+0.0700, +0.0900]  -" in text and "2.00 (1.99..2.01)" in text


def test_a_model_that_is_a_rival_is_not_what_the_run_is_about() -> None:
    systems = ["ours", "off-the-shelf"]
    assert compared(report(["ours=a:b", "off-the-shelf=c:d"], systems, ["off-the-shelf"])) == ["ours"]


def test_without_a_model_everybody_is_compared() -> None:
    text = compact_tables(report([], RIVALS[:3], RIVALS[:1]))
    assert text.count("[") == 2


def test_report_md_has_every_comparison_in_tables_of_their_own() -> None:
    text = markdown(report(["ours=a:b"], [*RIVALS, "ours"], RIVALS), ["report.json"], "quality.png")
    heads = [line for line in text.splitlines() if line.startswith("| system")]
    assert [head.count("|") - 1 for head in heads] == [5, 9, 9]
    assert text.count("[+") + text.count("[-") == 8 * 7 + 8
    assert text.index("NDCG@10 minus a rival's") < text.index("NDCG@10 over a rival's")
    assert "![NDCG@10 by slice and system](quality.png)" in text


@pytest.mark.parametrize("task", ["compact", "markdown"])
def test_a_run_of_one_system_has_no_comparison(task: str) -> None:
    alone = report([], RIVALS[:1], RIVALS[:1])
    text = compact_tables(alone) if task == "compact" else markdown(alone, [], "quality.png")
    assert "rival-number-0" in text and "rival's" not in text and "NDCG@10 - rival" not in text
