"""What a batch of train.clip may hold, and where its pictures come from."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from navigator.contracts import UserError
from navigator.contracts.catalog import held_out
from train.clip import run
from train.clip.config import ClipConfig, TowerConfig
from train.clip.draw import Drawer, Side
from train.clip.features import filled
from train.clip.pictures import Encoded, Stored, from_bytes, to_bytes
from train.clip.world import Taste

NO_PICTURE, NO_TEXT, NEITHER, BROKEN, UNSEEN_ALONE = (5, 18), (9, 22), 40, 33, (56, 57, 58, 59)
SIZE = 16


class Recorder(Drawer):
    """Keeps the sides (anchors, neighbours, negatives) of each batch and loads nothing."""

    def inputs(self, side: Side, share: slice, augment: np.ndarray | None):
        self.sides.append(side)
        return None

    def drawn(self, step: int):
        self.sides: list[Side] = []
        batch = self[step]
        negatives, anchors, neighbours = self.sides
        return batch, (anchors, neighbours, negatives)


@pytest.fixture
def world(make_tuning):
    return make_tuning().world


@pytest.fixture
def seen(make_tuning, clip_project):
    from graph.store import TasteGraph
    from navigator.contracts import Catalog

    return TasteGraph.open(clip_project / "graph", Catalog.open(clip_project / "catalog"))


def recorder(world, seed: int = 0, size: int = SIZE, **config: Any) -> Recorder:
    given: dict[str, Any] = {"hard_negatives": 3} | config
    return Recorder(world, ClipConfig(**given), TowerConfig(), size, seed, slice(0, size))


def test_the_world_has_something_to_get_wrong(world, seen):
    boards = [s for s in seen.sequences if s.task == "board-completion"]
    assert any(s.valid for s in boards) and all(s.test for s in boards)
    assert any(s.valid for s in seen.unseen) and any(s.test for s in seen.unseen)
    assert (world.taste.negatives >= 0).any() and held_out([f"i{n:02}" for n in range(60)], 0.1).sum() == 9
    assert not world.has[[*NO_PICTURE, NEITHER, BROKEN], 0].any() and not world.has[[*NO_TEXT, NEITHER], 1].any()


def test_no_batch_ever_holds_an_item_that_is_held_out(world):
    ids = [f"i{n:02}" for n in range(60)]
    allowed = {n for n in range(60) if not held_out(ids, 0.1)[n]} - {*UNSEEN_ALONE, NEITHER}
    draw, drawn = recorder(world), Counter()
    for step in range(200):
        for side in draw.drawn(step)[1]:
            drawn.update(side.rows.tolist())
    assert set(drawn) == allowed
    assert {*NO_PICTURE, *NO_TEXT, BROKEN} & allowed <= set(drawn)  # one part is enough to learn from


def test_neighbours_are_pairs_of_the_graph_and_never_a_held_out_save(world, seen):
    pairs = {(a, b) for a, b, _ in seen.pairs.tolist()}
    titles = {n: set() for n in range(60)}
    for s in seen.sequences:
        for item in s.items if s.task == "board-completion" else ():
            titles[item].add(s.title)
    names = sorted({title for own in titles.values() for title in own})
    draw, shown = recorder(world, drop_titles=0.0), Counter()
    for step in range(200):
        batch, (anchors, neighbours, _) = draw.drawn(step)
        for a, b, has in zip(anchors.rows, neighbours.rows, batch.has_neighbour.tolist(), strict=True):
            assert (int(a), int(b)) in pairs if has else a == b
        for side in (anchors, neighbours):
            for row, own in zip(side.rows.tolist(), side.titles, strict=True):
                assert {names[t] for t in own} <= titles[row]
                shown.update((row, names[t]) for t in own)
    everything = {(row, title) for row in world.train.tolist() for title in titles[row]}
    assert set(shown) == everything  # nothing else was asserted over nothing
    asked = {(i, s.title) for s in seen.sequences if s.task == "board-completion" for i in (*s.valid, *s.test)}
    answers = {save for save in asked if save[1] not in titles[save[0]]}  # no other board of that title has the item
    assert answers and not answers & set(shown)


def test_hard_negatives_share_no_training_board_and_come_from_the_graph(world, seen):
    boards = [set(s.items) for s in seen.sequences if s.task == "board-completion"]
    found, draw = 0, recorder(world)
    for step in range(60):
        batch, (anchors, _, negatives) = draw.drawn(step)
        there = batch.negative_there.numpy()
        for i, row in enumerate(anchors.rows.tolist()):
            own = negatives.rows.reshape(SIZE, 3)[i].tolist()
            real = [item for item, ok in zip(own, there[i], strict=True) if ok]
            assert set(real) <= set(seen.hard_negatives[row].tolist()) and len(set(real)) == len(real)
            assert not any({row, item} <= board for board in boards for item in real)
            assert [item for item, ok in zip(own, there[i], strict=True) if not ok] == [row] * int((~there[i]).sum())
            found += len(real)
    assert found > 100


def test_shared_titles_are_hidden_from_the_neighbour(world):
    draw, seen_all, seen_some, unshared = recorder(world, drop_titles=0.0), 0, 0, 0
    for step in range(200):
        batch, (anchors, neighbours, _) = draw.drawn(step)
        for i in np.flatnonzero(batch.has_neighbour.numpy()):
            own, others = set(world.titles[neighbours.rows[i]]), set(world.titles[anchors.rows[i]])
            left, shared = set(neighbours.titles[i]), own & others
            assert own - others <= left <= own
            if not shared:
                assert left == own
                unshared += len(own) > 0
            else:
                assert shared - left  # at least one
                seen_all += not shared & left
                seen_some += len(shared & left) > 0
            assert neighbours.shown[i, 2] == (len(left) > 0)
    assert seen_all > 100 and seen_some > 20 and unshared > 20


def test_dropping_leaves_every_item_a_part_and_follows_its_shares(world):
    draw, counts = recorder(world, drop_part=0.4, drop_titles=0.3), Counter()
    for step in range(150):
        _, (anchors, *_) = draw.drawn(step)
        assert anchors.shown.any(1).all() and not (anchors.shown & ~world.has[anchors.rows]).any()
        for row, shown in zip(anchors.rows, anchors.shown, strict=True):
            has = world.has[row]
            if has[0] and has[1]:
                assert shown[0] or shown[1]
                counts.update(
                    ["whole", *(["no picture"] if not shown[0] else []), *(["no text"] if not shown[1] else [])]
                )
            else:
                assert shown[:2].tolist() == has[:2].tolist()
            counts.update(["titled", *([] if shown[2] else ["no titles"])] if has[2] else [])
            assert shown[3] == has[3]
    for name, share, of in (("no picture", 0.2, "whole"), ("no text", 0.2, "whole"), ("no titles", 0.3, "titled")):
        assert counts[name] / counts[of] == pytest.approx(share, abs=0.04), name
    _, sides = recorder(world, fusion=False, drop_part=0.4).drawn(0)
    for side in sides:
        assert (side.shown[:, :2] == world.has[side.rows, :2]).all() and not side.shown[:, 2:].any()
        assert not any(len(own) for own in side.titles)


def test_neighbours_are_drawn_by_visits_to_a_power(world):
    taste = replace(
        world.taste, indptr=np.r_[0, 3, np.full(59, 3)], neighbours=np.array([1, 2, 3]), visits=np.array([1, 4, 16])
    )
    draw = recorder(replace(world, taste=taste, train=np.array([0])), size=400, visit_power=0.5)
    counts = Counter(row for step in range(5) for row in draw.drawn(step)[1][1].rows.tolist())
    for row, share in ((1, 1 / 7), (2, 2 / 7), (3, 4 / 7)):
        assert counts[row] / 2000 == pytest.approx(share, abs=0.04)


def test_together_is_one_item_or_a_shared_training_board(world, seen):
    draw = recorder(world)
    for step in range(5):
        batch, (anchors, neighbours, _) = draw.drawn(step)
        for i, a in enumerate(anchors.rows.tolist()):
            for j, b in enumerate(neighbours.rows.tolist()):
                assert batch.together[i, j] == (a == b or any({a, b} <= set(s.items) for s in seen.sequences)), (a, b)
    assert batch.together.any() and not batch.together.all()


def test_equal_texts_have_equal_numbers_and_saves_give_graded_weights(world, seen):
    batch, (anchors, *_) = recorder(world, graded=0.5).drawn(1)
    saves = [sum(row in s.items for s in seen.sequences) for row in anchors.rows.tolist()]
    raw = [(count + 1) ** 0.5 for count in saves]
    assert batch.weights.tolist() == pytest.approx([w * SIZE / sum(raw) for w in raw], rel=1e-5)
    assert world.text_ids[0] == world.text_ids[4] == world.text_ids[8] != world.text_ids[1]
    assert (
        len(set(world.text_ids.tolist())) == 60 - 5 - 2
    )  # 4 texts of the first nine items, and three items without any
    assert recorder(world).drawn(1)[0].weights.tolist() == [1.0] * SIZE


def tensors(inputs) -> list[torch.Tensor]:
    return [value for value in vars(inputs).values() if value is not None]


def test_a_batch_depends_on_seed_and_step_alone_and_shares_make_it_up(make_tuning):
    """The same pixels, words and masks, whichever step was drawn before and however many processes there are."""
    world = make_tuning(towers={"picture_layers": 1}).world
    config, towers = ClipConfig(hard_negatives=2), TowerConfig(min_area=0.5, flip=0.5)

    def draw(first: int, last: int, seed: int = 0) -> Drawer:
        return Drawer(world, config, towers, 8, seed, slice(first, last))

    one, again = draw(0, 8), draw(0, 8)
    assert len(again[7].examples) == len(again[0].examples) == 8
    whole = one[3]
    for name in ("anchors", "neighbours", "negatives"):
        for value, other in zip(tensors(getattr(whole, name)), tensors(getattr(again[3], name)), strict=True):
            assert torch.equal(value, other), name
        halves = [getattr(draw(*bounds)[3], name) for bounds in ((0, 4), (4, 8))]
        for field in ("picture", "shown", "text"):
            assert torch.equal(
                torch.cat([getattr(half, field) for half in halves]), getattr(getattr(whole, name), field)
            )
    assert torch.equal(torch.cat([draw(0, 4)[3].together, draw(4, 8)[3].together]), whole.together)
    assert (draw(0, 8, 1)[3].examples != whole.examples).any() and (one[4].examples != whole.examples).any()


def test_augmentation_crops_and_mirrors_training_pictures_only(make_tuning):
    world = make_tuning(towers={"picture_layers": 1}).world

    def batch(**towers):
        draw = Drawer(world, ClipConfig(hard_negatives=1), TowerConfig(**towers), 8, 0, slice(0, 8))
        return draw[0]

    plain, mirrored, cropped = batch(min_area=1.0), batch(min_area=1.0, flip=1.0), batch(min_area=0.3)
    assert plain.anchors.picture.dtype == cropped.anchors.picture.dtype == torch.uint8
    assert np.array_equal(plain.anchors.picture.numpy(), world.pictures.rows(plain.examples))
    assert torch.equal(mirrored.anchors.picture, plain.anchors.picture.flip(3))
    assert cropped.anchors.picture.shape == plain.anchors.picture.shape == (8, 3, 32, 32)
    assert not torch.equal(cropped.anchors.picture, plain.anchors.picture)
    assert not torch.equal(cropped.neighbours.picture, plain.neighbours.picture)
    assert plain.negatives is not None and cropped.negatives is not None
    assert torch.equal(cropped.negatives.picture, plain.negatives.picture)


def test_a_crop_keeps_the_share_of_the_area(make_tuning):
    """On a picture that is a ramp, the span of the crop tells its side."""
    ramp = torch.arange(0, 256, 8, dtype=torch.uint8).expand(3, 32, 32).contiguous()
    world = make_tuning(towers={"picture_layers": 1}).world
    store = np.zeros(60, [("ok", "u1"), ("values", "u1", (3, 32, 32))])
    store["ok"], store["values"] = 1, ramp.numpy()
    draw = Drawer(replace(world, pictures=Stored(store)), ClipConfig(), TowerConfig(min_area=0.5), 64, 0, slice(0, 64))
    pictures = draw[0].anchors.picture.float()
    spans = (pictures[..., -1] - pictures[..., 0]).mean((1, 2)) / 248
    assert spans.min() > 0.5**0.5 - 0.06 and spans.max() <= 1 and spans.std() > 0.02


def test_features_decoded_and_encoded_pictures_agree(make_tuning):
    kinds = {
        "features": make_tuning(towers={"picture_layers": 0}),
        "decoded": make_tuning(towers={"picture_layers": 1}),
        "encoded": make_tuning(towers={"picture_layers": 1, "pixels_gb": 0.0}),
    }
    assert isinstance(kinds["decoded"].world.pictures, Stored) and isinstance(kinds["encoded"].world.pictures, Encoded)
    rows = np.flatnonzero(kinds["features"].world.has[:, 0])
    assert rows.tolist() == [n for n in range(60) if n not in (*NO_PICTURE, NEITHER, BROKEN)]
    assert np.flatnonzero(kinds["decoded"].world.has[:, 0]).tolist() == rows.tolist()
    pixels = kinds["decoded"].world.pictures.rows(rows)
    assert np.array_equal(kinds["encoded"].world.pictures.rows(rows), pixels) and len(np.unique(pixels)) > 20
    encoder, towers = kinds["decoded"].encoder, kinds["decoded"].towers
    with torch.inference_mode():
        wanted = towers.picture_features(from_bytes(encoder, torch.from_numpy(pixels))).numpy()
    found = kinds["features"].world.pictures.rows(rows)
    assert found.dtype == np.float16 and np.allclose(found, wanted, rtol=2e-3, atol=2e-3)
    prepared = torch.rand(2, 3, 32, 32) * 2 - 1
    assert (from_bytes(encoder, torch.from_numpy(to_bytes(encoder, prepared))) - prepared).abs().max() <= 1 / 255 + 1e-6


def test_pictures_that_are_missing_or_broken_leave_the_text_to_learn_from(make_tuning):
    world = make_tuning().world
    assert {*NO_PICTURE, BROKEN} - {5} <= set(world.train.tolist()) and NEITHER not in world.train
    encoded = make_tuning(towers={"picture_layers": 1, "pixels_gb": 0.0}).world.pictures
    assert (encoded.rows(np.array([NO_PICTURE[0]])) == 255).all()
    with pytest.raises(UserError, match=r"picture of item 'i33' cannot be read .*import the catalogue again"):
        encoded.rows(np.array([0, BROKEN]))


def test_a_store_that_was_interrupted_goes_on_where_it_was(tmp_path):
    path, started = tmp_path / "deep" / "squares.npy", []

    def blocks(start: int, stop: int | None = None):
        started.append(start)
        for first in range(start, 10, 3):
            if stop is not None and first >= stop:
                raise KeyboardInterrupt
            yield np.arange(first, min(first + 3, 10)) ** 2

    with pytest.raises(KeyboardInterrupt):
        filled(path, 10, np.dtype("i8"), lambda start: blocks(start, 6), "x")
    assert not path.exists()
    for _ in range(2):  # the second time nothing is computed
        assert filled(path, 10, np.dtype("i8"), blocks, "x").tolist() == [n * n for n in range(10)]
    assert started == [0, 6] and [p.name for p in path.parent.iterdir()] == ["squares.npy"]


def test_without_a_graph_nothing_is_a_neighbour_and_items_are_set_aside(make_tuning):
    world = make_tuning(taste_graph=False, holdout=0.1, valid=0.3).world
    ids = [f"i{n:02}" for n in range(60)]
    valid = set(np.flatnonzero(held_out(ids, 0.3, "valid-v1") & ~held_out(ids, 0.1)).tolist())
    assert set(world.valid.tolist()) == valid and not valid & set(world.train.tolist()) and len(valid) > 5
    batch, (anchors, neighbours, _) = recorder(world).drawn(0)
    assert not batch.has_neighbour.any() and not batch.negative_there.any()
    assert (batch.together.numpy() == (anchors.rows[:, None] == neighbours.rows[None])).all()
    assert isinstance(world.taste, Taste) and not world.taste.sequences


def test_pixels_without_neighbours_are_drawn(make_tuning):
    """Nothing is a neighbour then: that side of the batch has no pictures to crop."""
    tuning = make_tuning(taste_graph=False, towers={"picture_layers": 1, "flip": 0.5})
    batch = tuning.drawer[0]
    assert batch.anchors.picture.shape == (12, 3, 32, 32) and batch.anchors.picture.dtype == torch.uint8
    assert batch.neighbours.picture.shape == (0, 3, 32, 32) and batch.neighbours.shown.shape[0] == 0
    with torch.inference_mode():
        assert np.isfinite(float(tuning.objective.eval()(batch, 0, 12)))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_drawn_is_one_line_from_a_worker_process_too(make_tuning, workers):
    tuning = make_tuning(towers={"picture_layers": 1, "pixels_gb": 0.0})
    batches = run._InOrder(tuning.drawer, 40, workers, tuning.towers)
    with pytest.raises(UserError) as told:
        for step in range(40):
            assert len(batches(step).examples) == 12
    assert "\n" not in str(told.value) and str(told.value).startswith(f"the picture of item 'i{BROKEN}' cannot be read")
