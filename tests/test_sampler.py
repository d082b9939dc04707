"""WalkSampler in PyG's own loaders: neighbourhoods, edges, importance, links, negatives and times against the graph."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch_geometric.typing
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkLoader, NeighborLoader, NodeLoader
from torch_geometric.sampler import NegativeSampling

from graph.relation import HOLDS, SAVED, Edges, Relation
from graph.sampler import WalkLinkLoader, WalkLoader, WalkSampler, neighbour_loader
from graph.walk import walk
from navigator.contracts import UserError

# Boards {0,1,2}, {2,3}, {3,4,5}; user 0 saved 0 and 5, user 1 saved 6; item 7 is on nothing; nobody has an interest.
SIZES = {"item": 8, "board": 3, "user": 2, "interest": 0}
PAIRS = {
    HOLDS: [(0, 2), (0, 1), (0, 0), (1, 2), (1, 3), (2, 5), (2, 4), (2, 3)],
    SAVED: [(0, 5), (0, 0), (1, 6)],
}
FIRST_TIME = {HOLDS: 100, SAVED: 200}
TOP = {"item": 3, "board": 2, "user": 1}


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """Edge e of a type has time FIRST_TIME + e; the edges are in no order."""
    made = HeteroData()
    for name, size in SIZES.items():
        made[name].num_nodes = size
    made["item"].x = torch.arange(8.0).unsqueeze(1)
    for key, pairs in PAIRS.items():
        index = torch.tensor(pairs).t().contiguous()
        reverse = (key[2], f"rev_{key[1]}", key[0])
        for edge_type, ends in ((key, index), (reverse, index.flip(0))):
            made[edge_type].edge_index = ends
            made[edge_type].time = torch.arange(FIRST_TIME[key], FIRST_TIME[key] + len(pairs))
    return made


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_node_loader_hold_each_seed_with_what_its_walks_visit(data: HeteroData, workers: int):
    sampler = WalkSampler(data, TOP, walks=500)
    seen = []
    for batch in WalkLoader(data, sampler, input_nodes="item", batch_size=3, num_workers=workers):
        item = batch["item"]
        size = item.batch_size
        assert torch.equal(item.n_id[:size], item.input_id) and torch.equal(item.batch[:size], torch.arange(size))
        assert torch.equal(item.x[:, 0].long(), item.n_id)
        assert item.num_sampled_nodes == [size, len(item.n_id) - size]
        expected = walk(sampler.walkable, "item", item.n_id[:size].numpy(), TOP, walks=500)
        for name in TOP:
            first = size if name == "item" else 0
            for slot in range(size):
                mine = batch[name].batch[first:] == slot
                reached = expected[name].nodes[slot] >= 0
                assert batch[name].n_id[first:][mine].tolist() == expected[name].nodes[slot][reached].tolist()
                assert batch[name].importance[first:][mine].tolist() == expected[name].visits[slot][reached].tolist()
        assert item.importance[:size].tolist() == [0] * size and torch.equal(item.slot, item.batch)
        seen += item.n_id[:size].tolist()
    assert seen == list(range(8))


def check_edges(batch: HeteroData, data: HeteroData, before: list[int] | None = None) -> int:
    """Every edge among the nodes of a slot, earlier than the slot's time, and none else; returns how many."""
    total = 0
    for key in (HOLDS, SAVED):
        source, item = batch[key[0]], batch["item"]
        row, col = batch[key].edge_index
        assert torch.equal(source.slot[row], item.slot[col])
        original = data[key].edge_index[:, batch[key].e_id]
        assert torch.equal(source.n_id[row], original[0]) and torch.equal(item.n_id[col], original[1])
        assert torch.equal(batch[key].time, data[key].time[batch[key].e_id])
        expected = Counter(
            (slot, s, i)
            for slot in range(int(item.slot.max()) + 1)
            for (s, i), time in zip(data[key].edge_index.t().tolist(), data[key].time.tolist(), strict=True)
            for _ in range(int(((source.n_id == s) & (source.slot == slot)).sum()))
            for _ in range(int(((item.n_id == i) & (item.slot == slot)).sum()))
            if before is None or time < before[slot]
        )
        assert Counter(zip(source.slot[row].tolist(), *original.tolist(), strict=True)) == expected
        reverse = batch["item", f"rev_{key[1]}", key[0]]
        assert torch.equal(reverse.edge_index, batch[key].edge_index.flip(0))
        assert torch.equal(reverse.e_id, batch[key].e_id)
        total += len(row)
    return total


def test_edges_are_exactly_those_of_the_graph_within_each_neighbourhood(data: HeteroData):
    sampler = WalkSampler(data, {"item": 4, "board": 3, "user": 2}, walks=500)
    seeds = ("item", torch.tensor([4, 2, 5, 2, 7]))
    batch = next(iter(WalkLoader(data, sampler, input_nodes=seeds, batch_size=5)))
    assert check_edges(batch, data) > 20
    assert batch["interest"].num_nodes == 0
    plain = next(iter(NodeLoader(data, sampler, input_nodes=seeds, batch_size=5)))
    assert torch.equal(plain["item"].n_id, batch["item"].n_id) and "importance" not in plain["item"]


def test_given_relations_are_walked_as_they_are_and_must_be_those_of_the_data(data: HeteroData):
    relations, ordered = [], data.clone()
    for key, pairs in PAIRS.items():
        src, dst = (np.array(side, np.int32) for side in zip(*pairs, strict=True))
        edges = Edges(src, dst, data[key].time.numpy(), np.ones(len(src), np.float32))
        relations.append(Relation.from_edges(key, SIZES[key[0]], 8, edges))
        ordered[key].edge_index = torch.from_numpy(np.stack(list(vars(relations[-1].edges()).values())[:2]).astype(int))
    given = WalkSampler(ordered, TOP, relations)
    assert given.relations == relations
    batches = [
        next(iter(WalkLoader(one, sampler, input_nodes="board", batch_size=3)))
        for one, sampler in ((ordered, given), (data, WalkSampler(data, TOP)))
    ]
    for key in (HOLDS, SAVED):
        assert batches[0][key].edge_index.tolist() == batches[1][key].edge_index.tolist()
    with pytest.raises(UserError, match="are not the relation's"):
        WalkSampler(data, TOP, relations)


@pytest.mark.parametrize(("kind", "node", "near"), [("board", 1, [2, 3]), ("user", 1, [6])])
def test_boards_and_users_can_be_seeds(data: HeteroData, kind: str, node: int, near: list[int]):
    sampler = WalkSampler(data, {"item": 2, "board": 2}, walks=2_000)
    batch = next(iter(WalkLoader(data, sampler, input_nodes=(kind, torch.tensor([node])), batch_size=1)))
    assert batch[kind].n_id[0] == node and batch[kind].batch_size == 1
    assert sorted(batch["item"].n_id.tolist()) == near


def test_seed_times_leave_only_earlier_edges_and_what_they_reach(data: HeteroData):
    """Before 103 only board 0 exists; item 2 at 100 has nothing yet, at 106 boards 0 and 1 and one item of board 2."""
    sampler = WalkSampler(data, {"item": 8, "board": 3, "user": 2}, walks=2_000)
    times = torch.tensor([100, 103, 106])
    seeds = ("item", torch.tensor([2, 2, 2]))
    batch = next(iter(WalkLoader(data, sampler, input_nodes=seeds, input_time=times, batch_size=3)))
    near = [sorted(batch["item"].n_id[3:][batch["item"].slot[3:] == slot].tolist()) for slot in range(3)]
    assert near == [[], [0, 1], [0, 1, 3]]
    assert check_edges(batch, data, times.tolist()) == 0 + 3 + 5
    assert torch.equal(batch["item"].seed_time, times)


@pytest.mark.parametrize("workers", [0, 2])
def test_link_loader_samples_around_both_ends(data: HeteroData, workers: int):
    sampler = WalkSampler(data, TOP, walks=300)
    loader = WalkLinkLoader(data, sampler, edge_label_index=HOLDS, batch_size=3, num_workers=workers)
    links = []
    for batch in loader:
        row, col = batch[HOLDS].edge_label_index
        n = len(row)
        links += list(zip(batch["board"].n_id[row].tolist(), batch["item"].n_id[col].tolist(), strict=True))
        assert batch["board"].batch[row].tolist() == batch["item"].batch[col].tolist() == list(range(n))
        assert batch["board"].slot[row].tolist() == list(range(n)) and batch["item"].slot[col].tolist() == list(
            range(n, 2 * n)
        )
        expected = walk(sampler.walkable, "item", batch["item"].n_id[col].numpy(), TOP, walks=300)["board"].nodes
        for end in range(n):
            mine = (batch["board"].slot == n + end).nonzero()[:, 0]
            assert batch["board"].n_id[mine].tolist() == [node for node in expected[end].tolist() if node >= 0]
        assert check_edges(batch, data) >= n
    assert links == PAIRS[HOLDS]


@pytest.mark.parametrize("amount", [1, 2, 0.5])
def test_binary_negatives_follow_the_positives_with_label_0(data: HeteroData, amount: float):
    torch.manual_seed(0)
    sampler = WalkSampler(data, TOP)
    loader = WalkLinkLoader(data, sampler, HOLDS, neg_sampling=NegativeSampling("binary", amount), batch_size=4)
    for batch in loader:
        row, col = batch[HOLDS].edge_label_index
        extra = round(4 * amount)
        assert batch[HOLDS].edge_label.tolist() == [1] * 4 + [0] * extra
        assert row.tolist() == col.tolist() == list(range(4 + extra))
        pairs = list(zip(batch["board"].n_id[row].tolist(), batch["item"].n_id[col].tolist(), strict=True))
        assert set(pairs[:4]) <= set(PAIRS[HOLDS])
        assert batch["item"].batch[col].tolist() == [i % 4 for i in range(4 + extra)]
        assert batch["item"].num_sampled_nodes[0] == 4 + extra
    labelled = WalkLinkLoader(
        data, sampler, HOLDS, torch.arange(8) % 2, neg_sampling=NegativeSampling("binary"), batch_size=8
    )
    assert next(iter(labelled))[HOLDS].edge_label.tolist() == [1, 2] * 4 + [0] * 8


@pytest.mark.parametrize("amount", [1, 3])
def test_triplet_negatives_are_targets_of_their_link(data: HeteroData, amount: int):
    torch.manual_seed(0)
    weight = torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 1])
    sampling = NegativeSampling("triplet", amount, dst_weight=weight)
    times = data[HOLDS].time
    loader = LinkLoader(data, WalkSampler(data, TOP), HOLDS, edge_label_time=times, neg_sampling=sampling, batch_size=4)
    for number, batch in enumerate(loader):
        board, item = batch["board"], batch["item"]
        positive = zip(board.n_id[board.src_index].tolist(), item.n_id[item.dst_pos_index].tolist(), strict=True)
        assert list(positive) == PAIRS[HOLDS][number * 4 : number * 4 + 4]
        assert item.dst_neg_index.shape == ((4, amount) if amount > 1 else (4,))
        assert set(item.n_id[item.dst_neg_index.flatten()].tolist()) == {6, 7}
        link = item.batch[item.dst_neg_index.view(4, -1)]
        assert torch.equal(link, torch.arange(4).view(4, 1).expand(4, amount))
        assert torch.equal(board.seed_time, times[number * 4 : number * 4 + 4])


def test_a_link_with_a_time_is_not_among_the_edges_around_it(data: HeteroData):
    times = data[HOLDS].time
    sampler = WalkSampler(data, {"item": 8, "board": 3, "user": 2})
    loader = WalkLinkLoader(
        data, sampler, HOLDS, edge_label_time=times, neg_sampling=NegativeSampling("binary"), batch_size=8
    )
    batch = next(iter(loader))
    assert check_edges(batch, data, times.tolist() * 4) > 0
    assert batch[HOLDS].edge_label_time.tolist() == times.tolist() * 2


def test_links_within_one_type_number_their_targets_after_their_sources(data: HeteroData):
    links = torch.tensor([[0, 3], [2, 5]])
    loader = WalkLinkLoader(data, WalkSampler(data, TOP), (("item", "near", "item"), links), batch_size=2)
    batch = next(iter(loader))
    label = batch["item", "near", "item"].edge_label_index
    assert label.tolist() == [[0, 1], [2, 3]] and batch["item"].n_id[label].tolist() == links.tolist()
    assert batch["item"].batch[:4].tolist() == [0, 1, 0, 1]


def test_loaders_are_chosen_by_name_and_pyg_is_refused_without_its_library(data: HeteroData, monkeypatch):
    chosen = neighbour_loader(data, "item", TOP, batch_size=8, sampler={"walks": 50})
    assert isinstance(chosen, WalkLoader) and next(iter(chosen))["item"].batch_size == 8
    for name in ("WITH_PYG_LIB", "WITH_TORCH_SPARSE"):
        monkeypatch.setattr(torch_geometric.typing, name, False)
    with pytest.raises(UserError, match="needs pyg-lib"):
        neighbour_loader(data, "item", TOP, kind="pyg", batch_size=8)
    with pytest.raises(UserError, match="allowed are 'walk', and 'pyg'"):
        neighbour_loader(data, "item", TOP, kind="hops")  # type: ignore[arg-type]


@pytest.mark.skipif(
    not (torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE),
    reason="neither pyg-lib nor torch-sparse is installed",
)
def test_pygs_own_loader_runs_where_its_library_is(data: HeteroData):
    loader = neighbour_loader(data, "item", TOP, kind="pyg", batch_size=8)
    assert isinstance(loader, NeighborLoader) and next(iter(loader))["item"].batch_size == 8


def test_an_unknown_type_to_sample_is_refused(data: HeteroData):
    with pytest.raises(UserError, match="'pin' is not walked; allowed are item, board, user, interest"):
        WalkSampler(data, {"pin": 3})
