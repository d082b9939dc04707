"""A refined store with its index and model, and a pipeline over them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from navigator.contracts import Catalog, publish
from navigator.contracts.vectors import normalise, write_vectors
from navigator.index import ItemIndex
from navigator.model_commands import index as index_command
from navigator.options import Options
from navigator.pipeline import Answer, Pipeline
from navigator.recommend import Recommender
from navigator.texts import TextVectors

RNG = np.random.default_rng(11)


def units(*shape: int) -> np.ndarray:
    return normalise(RNG.normal(size=shape)).astype(np.float32)


@pytest.fixture(scope="session")
def refined(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of content (6 dimensions) and graph factors (2), which every third item lacks, with its index and model."""
    from navigator.model_commands import swap

    home = tmp_path_factory.mktemp("refined")
    catalog = Catalog.open(project / "catalog")
    factors = units(60, 2)
    factors[::3] = 0
    config = {
        "encoder": "mixed", "normalised": True, "content_encoder": "enc", "content_dim": 6, "dim": 2, "graph_weight": 1.0
    }  # fmt: skip
    with publish(home / "vectors", "vectors", config, {"catalog": catalog.fingerprint}) as work:
        write_vectors(work.path, catalog.item_ids, normalise(np.hstack([units(60, 6), factors])).astype(np.float32))
    index_command(home / "vectors", home / "index")
    swap(home / "model", str(project / "stock"), vectors=home / "vectors")
    return home


def fresh(home: Path, project: Path, reads: TextVectors | None = None, head: bool = False, **options: Any) -> Pipeline:
    """A pipeline over the refined store; with `head` the heads are random, as if trained; `reads` encodes words."""
    recommender = Recommender.open(home / "model", home / "vectors", "cpu", "float32")
    recommender.text_vectors = reads
    if head:
        torch.manual_seed(5)
        for name in ("retrieval_head", "ranking_head"):
            torch.nn.init.normal_(getattr(recommender.model, name).weight, std=0.5)
    index = ItemIndex.open(home / "index", recommender.vectors.encoder)
    return Pipeline(recommender, index, Catalog.open(project / "catalog"), Options(**options))


def items_of(answer: Answer) -> list[str]:
    return [r.item for r in answer.results]
