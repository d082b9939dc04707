"""The candidates bench: its figures by hand, and the command on a tiny swapped model."""

import json

import numpy as np
import pytest
import torch

from bench.candidate_ways import CAUSAL, FIRST, ONE_PASS, REFERENCE, RETURN, Answer, spearman, summary
from bench.candidates import candidates
from bench.cli import main
from navigator.contracts import UserError


def test_spearman_by_hand():
    assert spearman(np.array([3.0, 2.0, 1.0]), np.array([9.0, 5.0, 4.0])) == 1
    assert spearman(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0])) == -1
    assert spearman(np.array([3.0, 2.0, 1.0]), np.array([2.0, 3.0, 1.0])) == pytest.approx(1 - 6 * 2 / 24)


def test_a_summary_takes_the_median_ratio_and_the_worst_agreement():
    scores, swapped = np.array([3.0, 2.0, 1.0]), np.array([2.0, 2.5, 1.0])
    answers = [
        {REFERENCE: Answer(reference, 30, scores), ONE_PASS: Answer(once, 10, found)}
        for reference, once, found in [(8.0, 1.0, scores), (9.0, 3.0, swapped), (10.0, 2.0, scores)]
    ]
    row = summary(ONE_PASS, answers)
    assert (row["seconds"], row["times_faster"], row["times_faster_range"], row["tokens"]) == (2.0, 5.0, [3.0, 8.0], 10)
    assert (row["spearman"], row["reordered"], row["max_difference"]) == (pytest.approx(0.5), 2, 1.0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_way_gives_the_order_of_one_by_one(project, tmp_path, attention):
    out = tmp_path / "report.json"
    vectors = project / "vectors" if attention == "sdpa" else None
    answer = candidates(
        project / "swapped", vectors, out, candidates=20, history=4, repeats=2, device="cpu", attention=attention
    )
    saved = json.loads(out.read_text())
    assert saved["ways"] == answer["ways"] and saved["met"]["order"] and saved["protocol"]["heads"] == "random"
    ways = {REFERENCE, FIRST, RETURN} | ({ONE_PASS, CAUSAL} if attention == "sdpa" else set())
    assert set(saved["ways"]) == ways and len(saved["rows"]) == 2 * len(ways)
    for name in ways - {CAUSAL}:
        assert saved["ways"][name]["reordered"] == 0 and saved["ways"][name]["max_difference"] < 1e-4
    words = saved["ways"][FIRST]["tokens"] - saved["ways"][RETURN]["tokens"] - 4
    assert words >= 1 and saved["ways"][REFERENCE]["tokens"] == 20 * (words + 4 + 2)
    if attention == "sdpa":
        assert saved["ways"][ONE_PASS]["tokens"] == words + 4 + 1 + 20 and saved["ways"][CAUSAL]["spearman"] is None


def test_the_command_shows_a_table(project, tmp_path, capsys):
    words = ["candidates", str(project / "swapped"), "--candidates", "5", "--history", "2", "--repeats", "1"]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "r.json")]) == 0
    assert "cached, return" in capsys.readouterr().out
    assert "candidates" in json.loads((tmp_path / "r.json").read_text())["command"]


def test_trained_heads_stay_as_they_are(project):
    from bench.candidates import _fill_zero_heads
    from navigator.swap import open_swapped

    model, _ = open_swapped(project / "swapped")
    torch.nn.init.ones_(model.ranking_head.weight)
    assert _fill_zero_heads(model, 0) == "random"  # the retrieval head was zero
    assert bool((model.ranking_head.weight == 1).all()) and bool(model.retrieval_head.weight.any())
    assert _fill_zero_heads(model, 0) == "trained"


def test_bad_options_are_named(project):
    with pytest.raises(UserError, match="candidates 1, history 20"):
        candidates(project / "swapped", candidates=1)
    with pytest.raises(UserError, match="has 60 items, a request shows 220"):
        candidates(project / "swapped", project / "vectors", device="cpu")
