"""WalkSampler in PyG's own loader: neighbourhoods, edges and importance against the graph."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import NodeSamplerInput

from graph.build import ABOUT, HAS, HOLDS, SAVED, Edges, build_hetero
from graph.sampler import WalkLoader, WalkSampler
from graph.walk import walk
from navigator.contracts import UserError


def edges_of(pairs: list[tuple[int, int]], first_time: int) -> Edges:
    src, dst = (np.array(side, np.int32) for side in zip(*pairs, strict=True))
    return Edges(src, dst, np.arange(first_time, first_time + len(src)), np.ones(len(src), np.float32))


@pytest.fixture(scope="module")
def data() -> HeteroData:
    """Boards {0,1,2}, {2,3}, {3,4,5}; user 0 saved 0 and 5, user 1 saved 6; item 7 is on nothing."""
    edges = {
        HOLDS: edges_of([(0, 2), (0, 1), (0, 0), (1, 2), (1, 3), (2, 5), (2, 4), (2, 3)], 100),
        SAVED: edges_of([(0, 5), (0, 0), (1, 6)], 200),
        HAS: edges_of([(0, 0)], 300),
        ABOUT: edges_of([(0, 0)], 400),
    }
    data = build_hetero({"item": 8, "board": 3, "user": 2, "interest": 1}, edges)
    data["item"].x = torch.arange(8.0).unsqueeze(1)
    return data


def test_reverse_edges_are_the_forward_edges_turned_round(data: HeteroData):
    assert torch.equal(data["item", "rev_holds", "board"].edge_index, data[HOLDS].edge_index.flip(0))
    assert torch.equal(data["item", "rev_holds", "board"].time, data[HOLDS].time)
    assert data.validate()


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_node_loader_hold_each_seed_with_what_its_walks_visit(data: HeteroData, workers: int):
    sampler = WalkSampler(data, top_items=3, top_contexts=2, walks=500)
    loader = WalkLoader(data, sampler, input_nodes="item", batch_size=3, num_workers=workers)
    seen = []
    for batch in loader:
        item = batch["item"]
        size = item.batch_size
        assert torch.equal(item.n_id[:size], item.input_id) and torch.equal(item.batch[:size], torch.arange(size))
        assert torch.equal(item.x[:, 0].long(), item.n_id)
        assert item.num_sampled_nodes == [size, len(item.n_id) - size]
        expected = walk(sampler.bipartite, item.n_id[:size].numpy(), 3, 2, walks=500)
        for slot in range(size):
            mine = (item.batch == slot) & (torch.arange(len(item.batch)) >= size)
            reached = expected.items[slot] >= 0
            assert item.n_id[mine].tolist() == expected.items[slot][reached].tolist()
            assert item.importance[mine].tolist() == expected.item_visits[slot][reached].tolist()
            contexts = (batch["board"].batch == slot).sum() + (batch["user"].batch == slot).sum()
            assert contexts == (expected.contexts[slot] >= 0).sum()
        assert item.importance[:size].tolist() == [0] * size
        seen += item.n_id[:size].tolist()
    assert seen == list(range(8))


def test_edges_are_exactly_those_of_the_graph_within_each_neighbourhood(data: HeteroData):
    sampler = WalkSampler(data, top_items=4, top_contexts=5, walks=500)
    batch = next(iter(NodeLoader(data, sampler, input_nodes=("item", torch.tensor([4, 2, 5, 2, 7])), batch_size=5)))
    for key in (HOLDS, SAVED):
        context, item = batch[key[0]], batch["item"]
        row, col = batch[key].edge_index
        assert torch.equal(context.batch[row], item.batch[col])
        original = data[key].edge_index[:, batch[key].e_id]
        assert torch.equal(context.n_id[row], original[0]) and torch.equal(item.n_id[col], original[1])
        assert torch.equal(batch[key].time, data[key].time[batch[key].e_id])
        expected = Counter(
            (int(slot), c, i)
            for slot in context.batch.unique()
            for c, i in data[key].edge_index.t().tolist()
            if c in context.n_id[context.batch == slot] and i in item.n_id[item.batch == slot]
        )
        found = zip(context.batch[row].tolist(), *original.tolist(), strict=True)
        assert Counter(found) == expected and expected
        reverse = batch["item", f"rev_{key[1]}", key[0]]
        assert torch.equal(reverse.edge_index, batch[key].edge_index.flip(0))
    assert batch["interest"].num_nodes == 0 and batch[HAS].edge_index.shape == (2, 0)


@pytest.mark.parametrize(("kind", "node", "near"), [("board", 1, [2, 3]), ("user", 1, [6])])
def test_boards_and_users_can_be_seeds(data: HeteroData, kind: str, node: int, near: list[int]):
    sampler = WalkSampler(data, top_items=2, top_contexts=2, walks=2_000)
    batch = next(iter(WalkLoader(data, sampler, input_nodes=(kind, torch.tensor([node])), batch_size=1)))
    assert batch[kind].n_id[0] == node and batch[kind].batch_size == 1
    assert sorted(batch["item"].n_id.tolist()) == near


def test_seed_times_are_refused(data: HeteroData):
    request = NodeSamplerInput(None, torch.tensor([0]), torch.tensor([5]), "item")
    with pytest.raises(UserError, match="no seed times"):
        WalkSampler(data).sample_from_nodes(request)
