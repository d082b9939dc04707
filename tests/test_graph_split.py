"""The split on worlds small enough to check in the head."""

import hashlib

import numpy as np
import pytest

from graph.saves import Saves
from graph.split import TEST, TRAIN, VALID, sequences_of, split_boards
from graph.unseen import cut_unseen, only, owner_parts
from graph.user_split import UserSplit, split_users, time_cut
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


def test_the_last_n_saves_are_the_test_and_the_n_before_them_the_validation_items():
    sizes = {"three": 3, "four": 4, "seven": 7, "eight": 8, "twelve": 12}
    groups = {name: list(range(100 - size, 100)) for name, size in sizes.items()}
    saves = saves_of(groups, {name: list(range(size)) for name, size in sizes.items()})
    split = split_users(shuffled(saves, 3), valid_fraction=1.0, last=3)
    found = {s.owner: (len(s.items), len(s.valid), len(s.test)) for s in sequences_of("next-item", split)}
    assert found == {
        "three": (3, 0, 0), "four": (1, 0, 3), "seven": (4, 0, 3), "eight": (2, 3, 3), "twelve": (6, 3, 3),
    }  # fmt: skip
    for s in sequences_of("next-item", split):
        assert s.items + s.valid + s.test == tuple(groups[s.owner])
    one, drawn = (split_users(saves, seed=4, valid_fraction=0.5, last=n) for n in (1, 3))
    asked = [{s.owner for s in sequences_of("next-item", split) if s.valid} for split in (one, drawn)]
    assert asked[1] == asked[0] & {"eight", "twelve"}  # whoever is drawn is drawn for any N
    assert drawn.counts["users_test_saves"] == 12


@pytest.mark.parametrize(("last", "user_split", "match"), [
    (0, "leave-last-out", "last is 0; allowed are whole numbers from 1"),
    (5, "global-time", "last 5 with user_split global-time.*leave --last out"),
    (5, "given", "last 5 with user_split given"),
])  # fmt: skip
def test_a_last_that_makes_no_sense_is_refused(last: int, user_split: UserSplit, match: str):
    with pytest.raises(UserError, match=match):
        split_users(saves_of({"u": [1, 2]}), user_split=user_split, last=last, cut=1)


def test_global_time_holds_out_everything_after_the_cut():
    groups = {"u": [1, 2, 3, 4, 5], "late": [6, 7], "early": [8]}
    times = {"u": [1, 2, 3, 4, 90], "late": [95, 99], "early": [5]}
    saves = saves_of(groups, times)
    cut = time_cut(saves.at, 0.6)
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
        time_cut(saves.at, 0.9)
    with pytest.raises(UserError, match="global_quantile"):
        time_cut(saves.at, 1.5)
    with pytest.raises(UserError, match="min_board is 1"):
        split_boards(saves, min_board=1)
    with pytest.raises(UserError, match="valid_fraction"):
        split_users(saves, valid_fraction=2)


def test_an_empty_split_is_a_user_error():
    sequences = sequences_of("board-completion", split_boards(saves_of({"b": [1, 2, 3]})))
    with pytest.raises(UserError, match="empty"):
        make_queries(sequences, "board-completion", "test")


# ---- owners never seen


def test_the_part_of_an_owner_is_a_hash_of_its_id_and_nothing_else():
    names = [f"owner {i}" for i in range(2000)]
    parts = owner_parts(names, 0.2, 0.15)
    for name, part in zip(names, parts, strict=True):
        point = int(hashlib.sha256(f"unseen-owners-v1|{name}".encode()).hexdigest()[:8], 16) / 2**32
        assert part == (TEST if point < 0.2 else VALID if point < 0.35 else TRAIN)
    assert 330 <= (parts == TEST).sum() <= 470 and 230 <= (parts == VALID).sum() <= 370
    np.testing.assert_array_equal(owner_parts(names[::-1], 0.2, 0.15)[::-1], parts)
    np.testing.assert_array_equal(owner_parts(names, 0.2, 0.5) == TEST, parts == TEST)
    assert not owner_parts(names, 0, 0).any()


@pytest.mark.parametrize("shares", [(-0.1, 0.2), (0.2, -0.1), (1.0, 0), (0, 1.0), (0.6, 0.4), (float("nan"), 0)])
def test_shares_of_unseen_owners_leave_somebody_to_train_on(shares):
    with pytest.raises(UserError, match=r"unseen_owners .*, unseen_valid .*stay below 1"):
        owner_parts(["a"], *shares)


def test_unseen_boards_show_all_but_one_item():
    groups = {"t": [5, 1, 4, 2, 3], "v": [11, 12, 13, 14], "few": [21, 22, 22], "s": [1, 2, 3, 9]}
    saves = saves_of(groups)
    fate = np.array([TEST, VALID, TEST, TRAIN])
    stays, split = cut_unseen(shuffled(saves, 2), fate, seed=5)
    assert stays.tolist() == [False, False, False, True]
    t, v, few = sequences_of("board-completion", split, ["T", "V", "Few", "S"])
    held = {s.owner: s.test for s in sequences_of("board-completion", split_boards(saves, seed=5))}
    assert (t.owner, t.title, t.test, t.valid) == ("t", "T", held["t"], ())
    assert (v.owner, v.valid, v.test) == ("v", held["v"], ())
    assert (few.items, few.valid, few.test) == ((21, 22), (), ())
    assert t.items == tuple(i for i in (1, 2, 3, 4, 5) if i not in t.test) and len(t.items) == 4
    assert [q.history for q in make_queries([t, v, few], "board-completion", "test")] == [t.items]
    assert [q.targets for q in make_queries([t, v, few], "board-completion", "valid")] == [v.valid]
    assert split.counts["unseen_boards"] == 3 and (split.counts["unseen_test"], split.counts["unseen_valid"]) == (1, 1)
    assert sequences_of("board-completion", cut_unseen(saves, fate, seed=5, min_board=5)[1])[1].valid == ()


def test_a_seen_twin_of_an_unseen_board_leaves_training():
    same = [1, 2, 3, 4]
    groups = {"a": same, "z": same[::-1], "m": same, "b": same, "x": [7, 8], "y": [8, 7], "near": [1, 2, 3, 5]}
    fate = np.array([TRAIN, TEST, VALID, TEST, TRAIN, TRAIN, TRAIN])
    stays, split = cut_unseen(saves_of(groups), fate)
    assert [s.owner for s in sequences_of("board-completion", split)] == ["b"]  # a test board, then the lowest id
    assert [name for name, stay in zip(groups, stays, strict=True) if stay] == ["x", "y", "near"]
    assert split.counts == {
        "unseen_boards": 1, "unseen_boards_merged": 2, "unseen_boards_with_seen_twin": 1, "seen_twins_dropped": 1,
        "unseen_valid": 0, "unseen_test": 1,
    }  # fmt: skip


def test_what_stays_is_as_if_the_others_had_never_been():
    groups = {"a": [1, 2], "b": [3], "c": [4, 1]}
    rest, expected = only(saves_of(groups), np.array([True, False, True])), saves_of({"a": [1, 2], "c": [4, 1]})
    assert rest.ids == expected.ids
    for name in ("owner", "item", "at"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(expected, name))
