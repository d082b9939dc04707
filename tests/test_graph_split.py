"""The split on worlds small enough to check in the head."""

import numpy as np
import pytest

from graph.split import TEST, TRAIN, VALID, Saves, sequences_of, split_boards, split_users, time_cut
from navigator.contracts import UserError
from navigator.contracts.signals import make_queries


def saves_of(groups: dict[str, list[int]], times: dict[str, list[int]] | None = None) -> Saves:
    ids = list(groups)
    owner = np.repeat(np.arange(len(ids)), [len(groups[i]) for i in ids])
    item = np.array([item for items in groups.values() for item in items], np.int64)
    at = np.array([t for i in ids for t in times[i]], np.int64) if times else np.full(len(item), -1)
    return Saves(ids, owner, item, at)


def shuffled(saves: Saves, seed: int) -> Saves:
    return saves.rows(np.random.default_rng(seed).permutation(len(saves.owner)))


BOARDS = {f"b{i}": list(range(i * 10, i * 10 + 4 + i % 4)) for i in range(12)} | {"small": [500, 501, 502]}


def test_every_board_of_min_size_holds_out_exactly_one_item_and_small_boards_none():
    split = split_boards(saves_of(BOARDS), valid_fraction=1.0)
    for s in sequences_of("board-completion", split, list(BOARDS)):
        items = BOARDS[s.owner]
        assert sorted(s.items + s.valid + s.test) == items
        assert len(s.test) == (1 if len(items) >= 4 else 0)
        assert len(s.valid) == (1 if len(items) >= 6 else 0)
        assert list(s.items) == sorted(s.items) and s.title == s.owner
    assert split.counts["boards_test_saves"] == 12 and split.counts["boards_valid_saves"] == 6


def test_split_depends_on_seed_and_board_id_only():
    saves = saves_of(BOARDS)
    first = sequences_of("board-completion", split_boards(saves, seed=3))
    assert sequences_of("board-completion", split_boards(shuffled(saves, 1), seed=3)) == first
    assert sequences_of("board-completion", split_boards(saves, seed=4)) != first
    with_another = sequences_of("board-completion", split_boards(saves_of({**BOARDS, "new": [1, 21, 31, 41]}), seed=3))
    assert with_another[:-1] == first


def test_identical_boards_are_merged_and_the_lowest_id_stays():
    saves = saves_of({"z": [4, 3, 2, 1], "a": [1, 2, 3, 4], "other": [1, 2, 3, 5], "m": [2, 1, 4, 3, 3]})
    split = split_boards(saves)
    assert [s.owner for s in sequences_of("board-completion", split)] == ["a", "other"]
    assert split.counts["boards_merged"] == 2 and split.counts["boards"] == 2


def test_valid_fraction_picks_about_that_share():
    split = split_boards(saves_of({f"b{i}": list(range(i * 6, i * 6 + 6)) for i in range(500)}), valid_fraction=0.2)
    assert 70 <= split.counts["boards_valid_saves"] <= 130


def test_users_go_by_time_then_item_index_and_the_first_of_repeats_counts():
    groups = {"u": [9, 5, 7, 5, 3], "one": [4]}
    times = {"u": [10, 20, 20, 30, 5], "one": [1]}
    split = split_users(shuffled(saves_of(groups, times), 5), valid_fraction=1.0)
    u, one = sequences_of("next-item", split)
    assert (u.items, u.valid, u.test) == ((3, 9), (5,), (7,))
    assert (one.items, one.test) == ((4,), ())
    assert split.counts["user_saves_repeated"] == 1


def test_without_times_users_keep_the_order_of_the_rows():
    split = split_users(saves_of({"u": [9, 1, 5, 1, 3]}), valid_fraction=0)
    (u,) = sequences_of("next-item", split)
    assert (u.items, u.test) == ((9, 1, 5), (3,))


def test_global_time_holds_out_everything_after_the_cut():
    groups = {"u": [1, 2, 3, 4, 5], "late": [6, 7], "early": [8]}
    times = {"u": [1, 2, 3, 4, 90], "late": [95, 99], "early": [5]}
    saves = saves_of(groups, times)
    cut = time_cut(saves, 0.6)
    assert cut == 5
    split = split_users(saves, valid_fraction=1.0, user_split="global-time", cut=cut)
    by_owner = {s.owner: s for s in sequences_of("next-item", split)}
    assert (by_owner["u"].items, by_owner["u"].valid, by_owner["u"].test) == ((1, 2, 3), (4,), (5,))
    assert (by_owner["late"].items, by_owner["late"].test) == ((), (6, 7))
    assert [q.query_id for q in make_queries(by_owner.values(), "next-item", "test")] == ["u"]
    assert split.saves.at[split.part != TEST].max() <= cut < split.saves.at[split.part == TEST].min()
    assert set(split.part.tolist()) == {TRAIN, VALID, TEST}


def test_bad_requests_are_user_errors():
    saves = saves_of({"u": [1, 2]})
    with pytest.raises(UserError, match="time on every interaction"):
        time_cut(saves, 0.9)
    with pytest.raises(UserError, match="global_quantile"):
        time_cut(saves, 1.5)
    with pytest.raises(UserError, match="min_board is 1"):
        split_boards(saves, min_board=1)
    with pytest.raises(UserError, match="valid_fraction"):
        split_users(saves, valid_fraction=2)


def test_an_empty_split_is_a_user_error():
    sequences = sequences_of("board-completion", split_boards(saves_of({"b": [1, 2, 3]})))
    with pytest.raises(UserError, match="empty"):
        make_queries(sequences, "board-completion", "test")
