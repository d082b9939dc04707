"""Every loss of train.clip against plain loops over floats, and what must never be a negative."""

import math

import numpy as np
import pytest
import torch

from train.clip.loss_negatives import hard_negative_loss
from train.clip.loss_neighbours import neighbour_loss
from train.clip.loss_picture_text import picture_text_loss
from train.clip.loss_sigmoid import sigmoid_loss
from train.clip.loss_stay import stay_loss
from train.clip.matryoshka import matryoshka

SCALE, BIAS, DIM, BATCH = 3.0, -1.5, 5, 6
SHARE = range(2, 5)  # the rows of this process in the global batch


def unit(rows: int, seed: int) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(rows, DIM))
    return torch.from_numpy((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32))


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def surprise(a: list[float], b: list[float], belongs: bool) -> float:
    """-log sigmoid(z * logit)."""
    logit = SCALE * dot(a, b) + BIAS
    return math.log1p(math.exp(-logit if belongs else logit))


ROWS, COLUMNS = unit(BATCH, 0)[list(SHARE)], unit(BATCH, 1)
S, B = torch.tensor(SCALE), torch.tensor(BIAS)
WEIGHTS = [0.5, 2.0, 0.25, 1.5, 3.0, 0.75]
GRADED = torch.tensor(WEIGHTS)


@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_loss_asks_every_pair_but_those_that_belong_together(weighted):
    together = torch.zeros(3, BATCH, dtype=torch.bool)
    together[0, 4] = together[1, 0] = together[2, 4] = (
        True  # row 2 is column 4: its own pair stays whatever the mask says
    )
    rows, columns = ROWS.tolist(), COLUMNS.tolist()
    wanted = []
    for i in range(3):
        total = 0.0
        for j in range(BATCH):
            if j == SHARE[i]:
                total += surprise(rows[i], columns[j], True)
            elif not together[i, j]:
                total += surprise(rows[i], columns[j], False)
        wanted.append(total * (WEIGHTS[SHARE[i]] if weighted else 1))
    found = sigmoid_loss(ROWS, COLUMNS, SHARE[0], S, B, together, GRADED[list(SHARE)] if weighted else None)
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_picture_text_loss_spares_equal_texts_and_items_without_a_pair(weighted):
    ids, has = [0, 1, 2, 1, 3, 2], [True, True, True, False, True, False]
    rows, columns = ROWS.tolist(), COLUMNS.tolist()
    wanted = []
    for i, me in enumerate(SHARE):
        total = 0.0
        for j in range(BATCH):
            if has[me] and has[j] and (j == me or ids[j] != ids[me]):
                total += surprise(rows[i], columns[j], j == me)
        wanted.append(total * (WEIGHTS[me] if weighted else 1))
    found = picture_text_loss(
        ROWS, COLUMNS, SHARE[0], S, B, torch.tensor(ids), torch.tensor(has), GRADED if weighted else None
    )
    assert found.tolist() == pytest.approx(wanted, rel=1e-5) and found[1] == 0


def test_equal_texts_pull_apart_nothing():
    """Two items of one text: neither text moves away from the other's picture."""
    texts = COLUMNS[:2].clone().requires_grad_(True)
    has, loss = torch.tensor([True, True]), []
    for ids in ([7, 7], [7, 8]):
        loss.append(picture_text_loss(COLUMNS[2:3], texts, 0, S, B, torch.tensor(ids), has).sum())
    (alike,) = torch.autograd.grad(loss[0], texts)
    (different,) = torch.autograd.grad(loss[1], texts)
    assert not alike[1].any() and different[1].any()


@pytest.mark.parametrize("weighted", [False, True])
def test_neighbour_loss_spares_board_mates_and_items_without_a_neighbour(weighted):
    rng = np.random.default_rng(3)
    together, has = rng.random((3, BATCH)) < 0.4, [True, False, True, False, True, True]
    rows, columns = ROWS.tolist(), COLUMNS.tolist()
    wanted = []
    for i, me in enumerate(SHARE):
        total = 0.0
        for j in range(BATCH):
            if has[me] and has[j] and (j == me or not together[i, j]):
                total += surprise(rows[i], columns[j], j == me)
        wanted.append(total * (WEIGHTS[me] if weighted else 1))
    found = neighbour_loss(
        ROWS, COLUMNS, SHARE[0], S, B, torch.from_numpy(together), torch.tensor(has), GRADED if weighted else None
    )
    assert found.tolist() == pytest.approx(wanted, rel=1e-5) and found[1] == 0


def test_hard_negative_loss_counts_those_that_are_there():
    negatives = unit(3 * 4, 2).view(3, 4, DIM)
    there = torch.tensor([[True, True, False, True], [False] * 4, [True, False, False, False]])
    wanted = []
    for i in range(3):
        own = zip(negatives[i].tolist(), there[i].tolist(), strict=True)
        wanted.append(sum(surprise(ROWS[i].tolist(), other, False) for other, is_there in own if is_there))
    assert hard_negative_loss(ROWS, negatives, there, S, B).tolist() == pytest.approx(wanted, rel=1e-5)


def test_matryoshka_is_the_mean_over_prefixes_made_unit_again():
    prefixes, rows, columns = (2, 3, 0), ROWS.tolist(), COLUMNS.tolist()

    def short(vector: list[float], k: int) -> list[float]:
        head = vector[: k or DIM]
        return [x / math.sqrt(dot(head, head)) for x in head]

    wanted = []
    for i, me in enumerate(SHARE):
        total = 0.0
        for k in prefixes:
            for j in range(BATCH):
                total += surprise(short(rows[i], k), short(columns[j], k), j == me) / len(prefixes)
        wanted.append(total)
    none = torch.zeros(3, BATCH, dtype=torch.bool)
    found = matryoshka(lambda a, b: sigmoid_loss(a, b, SHARE[0], S, B, none), prefixes, ROWS, COLUMNS)
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)


def test_stay_loss_is_the_squared_change_of_every_cosine():
    rows_before, columns_before = unit(3, 7)[:, :3], unit(BATCH, 8)[:, :3]  # of another width: only cosines count
    wanted = []
    for i in range(3):
        total = 0.0
        for j in range(BATCH):
            now = dot(ROWS[i].tolist(), COLUMNS[j].tolist())
            total += (now - dot(rows_before[i].tolist(), columns_before[j].tolist())) ** 2
        wanted.append(total)
    assert stay_loss(ROWS, COLUMNS, rows_before, columns_before).tolist() == pytest.approx(wanted, rel=1e-5)


def test_shares_of_a_batch_add_up_to_it():
    together = torch.from_numpy(np.random.default_rng(5).random((BATCH, BATCH)) < 0.3)
    rows = unit(BATCH, 0)
    whole = sigmoid_loss(rows, COLUMNS, 0, S, B, together, GRADED)
    parts = [sigmoid_loss(rows[a:b], COLUMNS, a, S, B, together[a:b], GRADED[a:b]) for a, b in ((0, 2), (2, 5), (5, 6))]
    torch.testing.assert_close(torch.cat(parts), whole)
