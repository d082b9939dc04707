"""`navigator-bench product`: a log that can be counted by hand, refused rows by name, intervals over users, split checks."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.product import events as log_module
from bench.product.command import product
from bench.product.events import Sums, open_log
from bench.product.figures import ProductReport
from bench.product.summary import sample_ratio, version_rows
from navigator.contracts import UserError

DAY = 86_400
LOG = """event_id,user_id,system,kind,item_id,at
1,ann,old,impression,x,1000000
2,ann,old,impression,y,1000001
3,ann,old,save,x,1000002
4,ann,old,click,y,1000003
5,ann,old,impression,x,1090000
6,ben,new,impression,x,1000000
7,ben,new,save,z,1000001
8,ben,new,board_created,,1000002
8,ben,new,board_created,,1000002
9,,new,save,x,1000000
10,ben,,save,x,1000000
11,ben,new,like,x,1000000
12,ben,new,save,x,
13,ben,new,save,x,-5
14,ben,new,save,x,1700000000000
15,eve,new,impression,x,1970-01-12T13:46:40Z
8,eve,new,nothing,x,1000000
"""


def report_of(folder) -> ProductReport:
    return ProductReport.model_validate_json((folder / "report.json").read_text())


def test_every_row_is_counted_or_refused_by_name(tmp_path, capsys):
    (tmp_path / "log.csv").write_text(LOG)
    assert main(["product", str(tmp_path / "log.csv"), "--out", str(tmp_path / "r"), "--baseline", "old"]) == 0
    assert "9 of 17 events used, 3 users" in capsys.readouterr().out
    report = report_of(tmp_path / "r")
    assert (report.rows, report.used) == (17, 9) and sum(report.refused.values()) == 8
    kinds = "kind is none of impression, click, save, board_created"
    assert report.refused == {
        f"{kinds}: like": 1, f"{kinds}: nothing": 1, "at is before 1970": 1, "at is no time": 1, "at is not in seconds": 1,
        "event_id seen before": 1, "no system": 1, "no user_id": 1,
    }  # fmt: skip
    rejects = pq.read_table(tmp_path / "r" / "rejects.parquet").to_pylist()
    assert [(row["row"], row["reason"]) for row in rejects][:2] == [(9, "event_id seen before"), (10, "no user_id")]
    old, new = report.versions_of_system["old"], report.versions_of_system["new"]
    assert old.counts == {"impression": 3, "click": 1, "save": 1, "board_created": 0, "user_day": 2} and old.days == 2
    assert new.counts == {"impression": 2, "click": 0, "save": 1, "board_created": 1, "user_day": 2} and new.users == 2
    assert (old.unseen_saves, new.unseen_saves) == (0, 1)  # z was never shown to ben
    means = {name: figure and figure.mean for name, figure in new.figures.items()}
    assert means["saves_per_impression"] == 0.5 and means["boards_per_user_day"] == 0.5
    minus, over = new.minus, new.over
    assert minus and over and old.minus is None
    assert minus["saves_per_impression"] and minus["saves_per_impression"].mean == pytest.approx(1 / 2 - 1 / 3)
    assert over["saves_per_impression"] and over["saves_per_impression"].mean == pytest.approx(1.5)
    assert over["boards_per_user_day"] is None  # nobody made a board with the old one
    daily = pq.read_table(tmp_path / "r" / "daily.parquet").to_pylist()
    assert [(row["system"], str(row["day"]), row["users"]) for row in daily] == [
        ("new", "1970-01-12", 2), ("old", "1970-01-12", 1), ("old", "1970-01-13", 1),
    ]  # fmt: skip
    assert main(["product", str(tmp_path / "log.csv"), "--out", str(tmp_path / "r"), "--baseline", "old"]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_metrics_without_their_denominator_are_null(tmp_path):
    pq.write_table(pa.table({"user_id": ["a"], "system": ["s"], "kind": ["save"], "at": [5]}), tmp_path / "log.parquet")
    product(tmp_path / "log.parquet", tmp_path / "r")
    row = report_of(tmp_path / "r").versions_of_system["s"]
    assert row.figures["saves_per_impression"] is None and row.unseen_saves is None
    figure = row.figures["saves_per_user_day"]
    assert figure and figure.mean == 1 and figure.ci95 is None  # one user: nothing to resample


def world(users: int, seed: int, lift: float = 0.0, share: float = 0.5) -> Sums:
    """Users whose rates differ much; ten user-days and a hundred impressions each."""
    rng = np.random.default_rng(seed)
    values = np.zeros((users, 2, 5))
    for user, row in enumerate(values):
        arm = int(rng.random() >= share)
        row[arm] = (100, 0, rng.binomial(100, rng.beta(1, 9) + lift * arm), 0, 10)
        assert user < users
    counts = {name: int((values[:, arm, 0] > 0).sum()) for arm, name in enumerate(("new", "old"))}
    return Sums(["new", "old"], values, counts, counts, 0, {"new": 10, "old": 10}, users)


def test_intervals_are_over_users_and_cover():
    """Events of a user belong together: an interval over events would be three times too narrow and miss most of the time."""
    inside = 0
    for seed in range(40):
        figure = version_rows(world(80, seed), "old", {}, seed)["new"].figures["saves_per_impression"]
        assert figure and figure.ci95
        inside += figure.ci95[0] <= 0.1 <= figure.ci95[1]
    assert inside >= 34
    minus = version_rows(world(400, 1, lift=0.1), "old", {}, 0)["new"].minus
    assert minus and minus["saves_per_impression"] is not None


def test_a_user_of_both_versions_is_drawn_with_both():
    """The same people in both arms, one a constant better: the difference has no spread at all."""
    rng = np.random.default_rng(0)
    values = np.zeros((50, 2, 5))
    saves = rng.integers(0, 50, 50)
    values[:, 0], values[:, 1] = (
        np.stack([np.full(50, 100), saves * 0, saves + more, saves * 0, np.ones(50)], 1) for more in (5, 0)
    )
    sums = Sums(["new", "old"], values, {"new": 50, "old": 50}, {"new": 0, "old": 0}, 50, {"new": 1, "old": 1}, 50)
    minus = version_rows(sums, "old", {}, 0)["new"].minus
    figure = minus and minus["saves_per_impression"]
    assert figure and figure.ci95 == pytest.approx((0.05, 0.05))
    assert sample_ratio(sums, {}).p is None and sample_ratio(sums, {}).several == 50


def test_a_split_that_chance_does_not_explain(tmp_path, capsys):
    fair, bent = sample_ratio(world(2000, 0), {}), sample_ratio(world(2000, 0, share=0.6), {})
    assert not fair.mismatch and bent.mismatch and bent.p is not None and bent.p < 1e-6
    assert not sample_ratio(world(2000, 0, share=0.6), {"new": 0.6, "old": 0.4}).mismatch
    rows = [(f"u{n}", "old" if n < 300 else "new", "impression", n) for n in range(400)]
    columns = dict(zip(("user_id", "system", "kind", "at"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    assert main(["product", str(tmp_path / "log.parquet"), "--out", str(tmp_path / "r"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["sample_ratio"]["mismatch"]


def test_very_many_users_are_drawn_in_groups_that_add_up_to_the_same(tmp_path, monkeypatch):
    rows = [(f"u{n % 97}", "old" if n % 2 else "new", "impression" if n % 3 else "save", n * 1000) for n in range(3000)]
    columns = dict(zip(("user_id", "system", "kind", "at"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    with open_log(tmp_path / "log.parquet", {}) as log:
        alone = log.sums()
        monkeypatch.setattr(log_module, "UNITS", 10)
        grouped = log.sums()
    assert len(alone.values) == 97 and len(grouped.values) <= 10 and alone.n_users == grouped.n_users == 97
    assert (alone.values.sum(axis=0) == grouped.values.sum(axis=0)).all() and grouped.several == alone.several == 97


def test_columns_and_times_of_other_names_and_kinds(tmp_path):
    columns = {
        "uid": ["a", "a"],
        "v": ["s", "s"],
        "what": ["impression", "save"],
        "ts": pa.array([0, DAY], pa.timestamp("s", "UTC")),
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    named = {"user_id": "uid", "system": "v", "kind": "what", "at": "ts"}
    product(tmp_path / "log.parquet", tmp_path / "r", columns=named)
    report = report_of(tmp_path / "r")
    assert (report.first_at, report.last_at, report.versions_of_system["s"].counts["user_day"]) == (0, DAY, 2)


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        (LOG, {"baseline": "x"}, "baseline 'x'"), (LOG, {"split": {"old": 0.5}}, "add up to 1"),
        (LOG, {"split": {"old": 0.5, "x": 0.5}}, "the log has versions new, old"),
        (LOG, {"columns": {"user": "u"}}, "allowed names"),
        (LOG, {"columns": {"item_id": "thing"}}, "lacks the column thing"),
        ("user_id,system,kind\na,b,save\n", {}, "lacks the column at"),
        ("user_id,system,kind,at\na,b,like,5\n", {}, "none of its 1 rows can be used"),
    ],
)  # fmt: skip
def test_bad_input_is_named(tmp_path, text, given, says):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        product(tmp_path / "log.csv", tmp_path / "r", **given)
    with pytest.raises(UserError, match="does not exist"):
        product(tmp_path / "nowhere.csv", tmp_path / "r")


def test_the_version_that_was_there_first_is_the_baseline(tmp_path):
    rows = ["user_id,system,kind,at", "ann,a-new,impression,2000", "ben,b-old,impression,1000"]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    assert main(["product", str(tmp_path / "log.csv"), "--out", str(tmp_path / "r")]) in (0, 1)
    assert report_of(tmp_path / "r").baseline == "b-old"
