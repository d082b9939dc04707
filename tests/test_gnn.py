"""train.gnn: what is drawn, the loss, both encoders, and a whole run that can be interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graph.commands import build_graph
from graph.relation import HOLDS, SAVED
from graph.store import TasteGraph
from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.contracts.vectors import normalise
from train.frame import main
from train.gnn.__main__ import gnn
from train.gnn.config import RATES, GnnConfig
from train.gnn.draw import Drawer
from train.gnn.frequency import CountMin, target_shares
from train.gnn.lightgcn import LightGCN
from train.gnn.neighbours import Neighbourhoods, sample_neighbourhoods
from train.gnn.objective import GnnObjective, blocked, sampled_softmax
from train.gnn.omnisage import OmniSage
from train.gnn.valid import Validation
from train.gnn.world import GnnWorld, Owners, open_world
from train.loop import LoopConfig

N = 40
LOOP = LoopConfig(steps=4, batch_size=8, warmup=1, precision="no", save_every=2, eval_every=2, learning_rates=RATES)
SMALL = GnnConfig(dim=8, folds=2, refresh=2, negatives=12, walks=50, width=16, heads=2, top_items=4, top_contexts=2)


def two_tastes(n_owners: int = 60, seed: int = 0) -> GnnWorld:
    """Owners of odd number save odd items, the others even ones; items 38 and 39 have never been saved."""
    rng = np.random.default_rng(seed)
    saves = [np.sort(rng.choice(np.arange(o % 2, N - 2, 2), 3 + o % 5, replace=False)) for o in range(n_owners)]
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in saves])])
    first = {"board-completion": 0, "next-item": n_owners // 2, "end": n_owners}
    owners = Owners([f"o{i}" for i in range(n_owners)], indptr, np.concatenate(saves), first)
    return GnnWorld(N, owners, None, None, [])


# drawing


@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, window=3, max_shown=1, max_targets=1), replace(SMALL, hide=0.9)]
)
def test_every_owner_shows_something_and_is_asked_for_something_else(config: GnnConfig):
    world = two_tastes()
    drawer = Drawer(world, config, 16, 10, 3)
    for step in range(10):
        batch = drawer(step)
        owners = range(len(batch.examples))
        shown = [set(batch.shown[batch.shown_of == o]) for o in owners]
        asked = [set(batch.targets[batch.targets_of == o]) for o in owners]
        saves = [set(world.owners.saves(batch.examples[[o]])[1]) for o in owners]
        assert all(s and t and not s & t and s | t <= all_ for s, t, all_ in zip(shown, asked, saves, strict=True))
        if config.window:
            assert all(len(s) == len(t) == 1 for s, t in zip(shown, asked, strict=True))
        else:
            assert [s | t for s, t in zip(shown, asked, strict=True)] == saves
        assert (np.diff(batch.candidates) > 0).all() and set(batch.targets) <= set(batch.candidates)


def test_a_window_is_consecutive():
    owners = Owners(["u"], np.array([0, 10]), np.arange(10), {"board-completion": 0, "next-item": 0, "end": 1})
    drawer = Drawer(GnnWorld(N, owners, None, None, []), replace(SMALL, folds=1, window=4), 1, 30, 0)
    spans = [np.ptp(np.concatenate([(b := drawer(step)).shown, b.targets])) for step in range(30)]
    assert set(spans) == {3}


def test_a_batch_depends_on_seed_and_step_alone():
    first, second, other = (Drawer(two_tastes(), SMALL, 16, 10, seed) for seed in (1, 1, 2))
    for drawer in (first, second):
        for step in (7, 0):  # in any order
            drawer(step)
    for field in ("examples", "shown", "targets", "candidates", "log_chance"):
        assert np.array_equal(getattr(first(5), field), getattr(second(5), field))
    assert not np.array_equal(first(5).examples, other(5).examples)


def test_an_epoch_asks_every_owner_once_and_a_fold_lasts_for_refresh_steps():
    world = two_tastes()
    drawer = Drawer(world, replace(SMALL, refresh=1), 100, 10, 0)
    batches = [drawer(step) for step in range(4)]
    assert [b.fold for b in batches] == [0, 1, 0, 1]
    assert sorted(np.concatenate([b.examples for b in batches[:2]])) == list(range(60))
    assert [Drawer(world, SMALL, 8, 10, 0)(step).fold for step in range(6)] == [0, 0, 1, 1, 0, 0]


def test_hard_negatives_grow_with_the_curriculum():
    table = np.tile(np.arange(30, 36, dtype=np.int32), (N, 1))
    table[:, 5] = -1
    drawer = Drawer(replace_negatives(two_tastes(), table), replace(SMALL, hard_negatives=6, negatives=1), 16, 20, 0)
    sizes = [len(drawer._hard(np.arange(5), step, np.random.default_rng(0))) for step in (0, 4, 9, 19)]
    assert sizes[0] <= 1 < sizes[1] < sizes[2] == sizes[3] == 5  # six columns, one of them empty
    hard = np.isin(drawer(15).candidates, np.arange(30, 35))
    assert hard.sum() == 5 and (drawer(15).log_chance[hard] == 0).all()


def replace_negatives(world: GnnWorld, table: np.ndarray) -> GnnWorld:
    return replace(world, hard_negatives=table)


def test_the_chance_of_a_candidate_is_what_drawing_gives():
    world = two_tastes(400)
    drawer = Drawer(world, replace(SMALL, folds=1, negatives=6), 8, 10_000, 0)
    seen, said = np.zeros(N), np.zeros(N)
    steps = 1500
    for step in range(steps):
        batch = drawer(step)
        seen[batch.candidates] += 1
        expected = drawer._chance(np.arange(N), 6, len(batch.targets), np.zeros(N, bool))
        said += expected
    assert np.abs(seen - said).max() / steps < 0.06
    assert seen[38] / steps == pytest.approx(6 / N, abs=0.04)  # never a target


# frequencies


def test_count_min_never_counts_too_few_and_little_too_many():
    rng = np.random.default_rng(0)
    stream = rng.zipf(1.5, 20_000) % 5000
    truth = np.bincount(stream, minlength=5000)
    sketch = CountMin(width=2048, depth=4)
    for part in np.array_split(stream, 7):
        sketch.add(part)
    found = sketch.estimate(np.arange(5000))
    assert (found >= truth).all()
    assert (found - truth > np.e * len(stream) / 2048).mean() < np.exp(-4) + 0.01
    assert target_shares(np.array([1, 1, 3]), 4, "exact").tolist() == [0, 2 / 3, 0, 1 / 3]
    assert target_shares(np.array([1, 1, 3]), 4, "count-min").tolist() == [0, 2 / 3, 0, 1 / 3]


# the loss


def test_with_all_items_it_is_the_full_softmax_without_the_owners_other_saves():
    torch.manual_seed(0)
    queries, items = torch.nn.functional.normalize(torch.randn(2, 5), dim=1), torch.randn(6, 5)
    items = torch.nn.functional.normalize(items, dim=1)
    targets, targets_of = torch.tensor([1, 4, 0]), torch.tensor([0, 0, 1])
    known, known_of = torch.tensor([1, 4, 2, 0]), torch.tensor([0, 0, 0, 1])
    found = sampled_softmax(
        queries, items[targets], targets_of, items, torch.zeros(6), blocked(torch.arange(6), known, known_of), 0.2
    )
    logits = queries @ items.T / 0.2
    for loss, target, owner in zip(found, targets.tolist(), targets_of.tolist(), strict=True):
        others = [i for i in range(6) if i not in known[known_of == owner].tolist()]
        row = torch.cat([logits[owner, [target]], logits[owner, others]])
        assert loss.item() == pytest.approx(
            torch.nn.functional.cross_entropy(row[None], torch.zeros(1).long()).item(), rel=1e-5
        )


def test_a_sample_with_its_chances_estimates_the_sum_over_all_items():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    query, items = (
        torch.nn.functional.normalize(torch.randn(1, 4), dim=1),
        torch.nn.functional.normalize(torch.randn(50, 4), dim=1),
    )
    chance = rng.uniform(0.2, 0.9, 50)
    nothing = (torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    sums = []
    for _ in range(4000):
        rows = np.flatnonzero(rng.random(50) < chance)
        loss = sampled_softmax(
            query,
            items[:1],
            torch.zeros(1, dtype=torch.long),
            items[rows],
            torch.from_numpy(np.log(chance[rows])),
            nothing,
            0.5,
        )
        positive = (query @ items[0]).item() / 0.5
        sums.append(np.exp(loss.item() + positive) - np.exp(positive))
    assert np.mean(sums) == pytest.approx(torch.exp(query @ items.T / 0.5).sum().item(), rel=0.02)


def test_an_owner_who_saved_every_candidate_gives_a_finite_gradient():
    queries = torch.ones(1, 2, requires_grad=True)
    everything = blocked(torch.arange(3), torch.arange(3), torch.zeros(3, dtype=torch.long))
    loss = sampled_softmax(
        queries, torch.ones(1, 2), torch.zeros(1, dtype=torch.long), torch.ones(3, 2), torch.zeros(3), everything, 0.1
    )
    loss.sum().backward()
    assert queries.grad is not None and torch.isfinite(queries.grad).all()


# encoders


def learn(world: GnnWorld, model, config: GnnConfig, steps: int = 60) -> None:
    objective, drawer = GnnObjective(model, config.temperature), Drawer(world, config, 30, steps, 0)
    optimizer = torch.optim.Adam(objective.parameters(), 0.02)
    for step in range(steps):
        batch = drawer(step)
        optimizer.zero_grad()
        objective(batch, 0, len(batch.examples)).backward()
        optimizer.step()


def test_lightgcn_from_chance_learns_two_tastes_and_leaves_new_items_at_zero():
    world, config = two_tastes(), replace(SMALL, folds=1)
    model = LightGCN(world, 8, "random", 0)

    def apart() -> float:
        vectors = model.everything(-1)
        cosines = (vectors @ vectors.T)[:38, :38]
        same = (torch.arange(38)[:, None] + torch.arange(38)) % 2 == 0
        return (cosines[same].mean() - cosines[~same].mean()).item()

    before = apart()
    learn(world, model, config)
    assert apart() > before + 0.5
    assert not model.everything(-1)[38:].any() and torch.isfinite(model.table).all()


def test_lightgcns_owners_are_weighted_sums_of_their_items():
    world = two_tastes()
    model = LightGCN(world, 8, "spectral", 0)
    found = model.owners(torch.tensor([3, 5, 2]), torch.tensor([0, 0, 2]), 3, torch.zeros(3, 8))
    expected = sum(model.table[i] / world.degree[i] ** 0.5 for i in (3, 5))
    assert torch.allclose(found[0], torch.nn.functional.normalize(expected, dim=0), atol=1e-6)
    assert not found[1].any()  # an owner without saves


def test_the_spectral_start_tells_two_tastes_apart():
    vectors = LightGCN(two_tastes(), 4, "spectral", 0).everything(-1).numpy()
    cosines = (vectors @ vectors.T)[:38, :38]
    same = np.add.outer(np.arange(38), np.arange(38)) % 2 == 0
    assert cosines[same].mean() > cosines[~same].mean() + 0.3


def hand_made() -> tuple[np.ndarray, Neighbourhoods]:
    """Item 0 has neighbours 1 (3 visits) and 2 (1 visit); item 3 has none."""
    content = normalise(np.random.default_rng(0).normal(size=(4, 6))).astype(np.float32)
    nodes = np.full((1, 4, 2), -1, np.int32)
    visits = np.zeros((1, 4, 2), np.float32)
    nodes[0, 0], visits[0, 0] = [1, 2], [3, 1]
    return content, Neighbourhoods({"item": nodes}, {"item": visits}, {"item": content})


def test_omnisage_starts_as_content_beside_the_visit_weighted_mean_of_the_neighbours():
    content, neighbourhoods = hand_made()
    model = OmniSage(content, neighbourhoods, replace(SMALL, graph_weight=0.5), 0).eval()
    with torch.no_grad():
        found = model.items(torch.tensor([0, 3]), -1).numpy()
    pooled = normalise(3 * content[1] + content[2])
    assert np.allclose(found[0], normalise(np.concatenate([content[0], 0.5 * pooled])), atol=1e-6)
    assert np.allclose(found[1], normalise(np.concatenate([content[3], 0.5 * content[3]])), atol=1e-6)


def test_omnisage_does_not_see_the_order_of_neighbours_and_every_part_learns():
    content, neighbourhoods = hand_made()
    turned = Neighbourhoods(
        *({"item": part["item"][..., ::-1].copy()} for part in (neighbourhoods.nodes, neighbourhoods.visits)),
        {"item": content},
    )
    models = [OmniSage(content, n, SMALL, 0).eval() for n in (neighbourhoods, turned)]
    for model in models:
        torch.nn.init.normal_(model.out.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.constant_(model.importance, 0.3)
    found = [model.items(torch.arange(4), -1) for model in models]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    (found[0] @ torch.randn(12, generator=torch.Generator().manual_seed(2))).sum().backward()
    unmoved = [name for name, p in models[0].named_parameters() if p.grad is None or not p.grad.any()]
    assert unmoved == []


# a whole run


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of two tastes as boards and users, its graph, and content vectors that say nothing of taste."""
    folder = tmp_path_factory.mktemp("gnn")
    make_shop(folder)
    return folder


def make_shop(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from navigator.contracts import publish
    from navigator.contracts.vectors import write_vectors
    from navigator.importers.table import import_table

    world = two_tastes()
    rows = [(f"b{o}" if o < 30 else f"u{o}", f"i{i}") for o in range(60) for i in world.owners.saves(np.array([o]))[1]]
    files = {
        "items": {"item_id": [f"i{n}" for n in range(N)], "title": [f"thing {n}" for n in range(N)]},
        "boards": {"board_id": [f"b{o}" for o in range(30)], "title": [f"board {o}" for o in range(30)]},
        "board_items": {
            "board_id": [o for o, _ in rows if o[0] == "b"],
            "item_id": [i for o, i in rows if o[0] == "b"],
        },
        "interactions": {
            "user_id": [o for o, _ in rows if o[0] == "u"],
            "item_id": [i for o, i in rows if o[0] == "u"],
        },
    }
    for name, columns in files.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    import_table(folder / "catalog", **{name: folder / f"{name}.parquet" for name in files})
    build_graph(folder / "catalog", folder / "graph", min_board=3, valid_fraction=0.5, walks=50)
    content = np.random.default_rng(1).normal(size=(N, 6))
    with publish(folder / "vectors", "vectors", {"encoder": "none", "normalised": True}, {}) as work:
        write_vectors(work.path, [f"i{n}" for n in range(N)], normalise(content).astype(np.float16))


def run(shop: Path, out: Path, content: bool, objective: GnnConfig = SMALL, loop: LoopConfig = LOOP):
    return gnn(
        shop / "catalog", shop / "graph", out, shop / "vectors" if content else None, objective=objective, loop=loop
    )


@pytest.mark.parametrize("content", [True, False])
def test_a_run_writes_stores_that_open_like_any_other(shop: Path, tmp_path: Path, content: bool):
    answer = run(shop, tmp_path / "out", content)
    items, boards, users = (ItemVectors.open(tmp_path / "out" / name) for name in ("items", "boards", "users"))
    assert items.ids == Catalog.open(shop / "catalog").item_ids and items.dim == (12 if content else 8)
    assert items.content_dim == (6 if content else 8)
    assert boards.ids[0].startswith("b") and users.ids[0].startswith("u")
    assert np.allclose(np.linalg.norm(users.float32(), axis=1), 1, atol=1e-2)
    assert answer["vectors"] == {"items": N, "boards": len(boards.ids), "users": len(users.ids)}
    assert run(shop, tmp_path / "out", content)["unchanged"]
    log = [json.loads(line) for line in (tmp_path / "out.audit.jsonl").read_text().splitlines()]
    assert log[-1]["what"] == "train.gnn" and log[-1]["outcome"] == "done"


def test_ids_alone_beside_content(shop: Path, tmp_path: Path):
    run(shop, tmp_path / "out", True, replace(SMALL, encoder="lightgcn"))
    items, content = ItemVectors.open(tmp_path / "out" / "items"), ItemVectors.open(shop / "vectors")
    assert items.dim == 6 + 8 and items.content_dim == 6
    assert np.allclose(normalise(items.float32()[:, :6]), normalise(content.float32()), atol=2e-3)
    assert not items.float32()[38:, 6:].any()  # nobody saved them: content alone


@pytest.mark.parametrize("content", [True, False])
def test_an_interrupted_run_ends_with_the_same_vectors(shop: Path, tmp_path: Path, content: bool, monkeypatch):
    run(shop, tmp_path / "whole", content)
    monkeypatch.setattr(Drawer, "__call__", interrupt_at(3, Drawer.__call__))
    with pytest.raises(KeyboardInterrupt):
        run(shop, tmp_path / "cut", content)
    monkeypatch.undo()
    run(shop, tmp_path / "cut", content)
    for name in ("items", "users"):
        whole, cut = (ItemVectors.open(tmp_path / folder / name).matrix for folder in ("whole", "cut"))
        assert np.array_equal(whole, cut)


def interrupt_at(step: int, draw):
    def stopped(self, now: int):
        if now == step:
            raise KeyboardInterrupt
        return draw(self, now)

    return stopped


def test_a_fold_is_sampled_without_its_own_owners(shop: Path):
    taste_graph = TasteGraph.open(shop / "graph", Catalog.open(shop / "catalog"))
    world = open_world(taste_graph, ItemVectors.open(shop / "vectors"), False, 0)
    fold = np.random.default_rng(0).integers(2, size=len(world.owners.ids))
    found = sample_neighbourhoods(taste_graph, world.owners, fold, world.content, replace(SMALL, top_contexts=40), 0, 1)
    middle = world.owners.first["next-item"]
    for name, owners, folds, edge_type in (
        ("board", world.owners.ids[:middle], fold[:middle], HOLDS), ("user", world.owners.ids[middle:], fold[middle:], SAVED),
    ):  # fmt: skip
        of = dict(zip(owners, folds.tolist(), strict=True))
        ids = taste_graph.node_ids(name)
        for left_out in (0, 1):
            seen = {of[ids[n]] for n in np.unique(found.nodes[name][left_out]) if n >= 0}
            assert seen == {1 - left_out}
        assert {of[ids[n]] for n in np.unique(found.nodes[name][-1]) if n >= 0} == {0, 1}
        assert len(taste_graph.edges(edge_type).src)


def test_validation_sees_what_the_owner_saved_and_ranks_the_rest(shop: Path):
    taste_graph = TasteGraph.open(shop / "graph", Catalog.open(shop / "catalog"))
    world = open_world(taste_graph, None, False, 0)
    model = LightGCN(world, 8, "random", 0)
    before = Validation(model, world.queries)()
    learn(world, model, replace(SMALL, folds=1), 80)
    after = Validation(model, world.queries)()
    assert after["ndcg@20"] > before["ndcg@20"] + 0.05
    assert len(open_world(taste_graph, None, False, 5).queries) == 5


@pytest.mark.parametrize(
    "options, message",
    [
        (["--objective.encoder", "omnisage"], "reads content; give --vectors"),
        (["--objective.hide", "1.5"], "shares between 0 and 1"),
        (["--objective.refresh", "3"], "must be a multiple of objective.refresh"),
        (["--objective.negatives", "0", "--objective.in_batch", "false"], "leave nothing to tell a target from"),
        (["--loop.learning_rates", "{tower: 1}"], "'tower'; the parts are table, encoder"),
        (["--loop.batch_size", "0"], "loop.batch_size 0"),
        (["--purpose", "nosy", "--loop.precision", "no"], "nosy"),
        (["--purpose", "stats"], "vectors of single users"),
        (["--objective.encodr", "x"], "encodr"),
    ],
)
def test_bad_options_are_one_line(shop: Path, tmp_path: Path, capsys, options: list[str], message: str):
    common = ["--catalog", shop / "catalog", "--graph", shop / "graph", "--out", tmp_path / "out"]
    assert main("train.gnn", gnn, [str(word) for word in [*common, *options]]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_vectors_of_other_items_are_refused(shop: Path, tmp_path: Path):
    store = ItemVectors.open(shop / "vectors")
    fewer = ItemVectors(store.ids[:-1], store.matrix[:-1], "none", True)
    taste_graph = TasteGraph.open(shop / "graph", Catalog.open(shop / "catalog"))
    with pytest.raises(UserError, match="not of this catalogue"):
        open_world(taste_graph, fewer, False, 0)
