"""Shared tiny worlds: random Qwen-VL checkpoints small enough to build in milliseconds."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # one process and two are compared, and two share no GPU
# Tensors of a few numbers: threads only wait for each other, spinning, and where other work has the cores for very long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

pytest_plugins = [
    "chat_worlds", "clip_worlds", "forget_worlds", "page_visits", "pipeline_worlds", "release_worlds", "serve_worlds",
    "stage_worlds", "stats_worlds", "tasks_worlds",
]  # fmt: skip

SPECIAL = [
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
WORDS = ["Saved:", "Board:", "user", "assistant", "red", "blue", "flag", "cat", "of", "Describe:"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS, "<unk>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>", unk_token="<unk>",
        additional_special_tokens=SPECIAL[1:],
    )  # fmt: skip


def tiny_backbone(folder: Path, kind: str, layers: int = 2, tie: bool = True) -> Path:
    """Save a stock random checkpoint of `kind` with its tokenizer."""
    torch.manual_seed(7)
    text = dict(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, bos_token_id=None, eos_token_id=2, pad_token_id=0, initializer_range=0.3,
        rope_parameters={"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10_000.0},
    )  # fmt: skip
    ids = dict(
        image_token_id=5, video_token_id=6, vision_start_token_id=3, vision_end_token_id=4, tie_word_embeddings=tie
    )
    if kind == "qwen2_5_vl":
        text.pop("head_dim")
        vision = dict(
            depth=2, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=32, fullatt_block_indexes=[1]
        )
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))
    else:
        vision = dict(
            depth=3, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=32, deepstack_visual_indexes=[0, 1],
            num_position_embeddings=16,
        )  # fmt: skip
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **ids))
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["qwen2_5_vl", "qwen3_vl"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stock checkpoint of each kind in turn."""
    return tiny_backbone(tmp_path_factory.mktemp(request.param) / "stock", request.param)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stock checkpoint that training starts from; nobody writes to it."""
    return tiny_backbone(tmp_path_factory.mktemp("stock") / "stock", "qwen2_5_vl")


@pytest.fixture(scope="module", params=[1, 2, 4])
def swapped(backbone: Path, request: pytest.FixtureRequest):
    """Model and processor of both backbones at k = 1, 2, 4, for 6 dimensions of encoder "enc".

    Heads and DeepStack are random, so that whatever a token sees, and should not, shows in a score.
    """
    from navigator.swap import swap

    model, processor = swap(str(backbone), 6, "enc", tokens_per_item=request.param)
    torch.manual_seed(1)
    for layer in (model.retrieval_head, model.ranking_head, *model.model.visual.deepstack):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return model, processor


@pytest.fixture(scope="session")
def make_backbone():
    """The builder itself, for tests that need other layouts."""
    return tiny_backbone


def tiny_tables(folder: Path, items: int = 60) -> Path:
    """A shop's tables: items with pictures and words, boards of six items (every fourth one shared), a user's log."""
    rng = np.random.default_rng(5)

    def picture(n: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, size=(24, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    names = [f"i{n:02}" for n in range(items)]
    words = ["red flag", "blue cat", "red cat of", "blue flag"]
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "item_id": names,
        "title": [f"{words[n % 4]} {n}" for n in range(items)],
        "image": [picture(n) for n in range(items)],
    }
    pq.write_table(pa.table(columns), folder / "items.parquet")
    boards = [f"b{n}" for n in range(12)]
    pq.write_table(pa.table({"board_id": boards, "title": boards, "owner_id": ["o"] * 12}), folder / "boards.parquet")
    held = [(f"b{n}", names[(4 * n + step) % items]) for n in range(12) for step in range(6)]
    pq.write_table(
        pa.table({"board_id": [b for b, _ in held], "item_id": [i for _, i in held]}), folder / "board_items.parquet"
    )
    log = [(f"u{u}", names[int(i)], 100 * u + t) for u in range(6) for t, i in enumerate(rng.permutation(items)[:8])]
    saved = {
        "user_id": [u for u, _, _ in log],
        "item_id": [i for _, i, _ in log],
        "action": ["save"] * len(log),
        "at": [t for _, _, t in log],
    }
    pq.write_table(pa.table(saved), folder / "interactions.parquet")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small project made by the commands: tables, catalog, vectors (random, encoder "enc"), graph, swapped, index."""
    from graph.commands import build_graph
    from navigator.catalog_commands import import_table
    from navigator.contracts import Catalog, publish
    from navigator.contracts.vectors import normalise, write_vectors
    from navigator.model_commands import index, swap

    home = tmp_path_factory.mktemp("project")
    tables = tiny_tables(home / "tables")
    import_table(
        home / "catalog", tables / "items.parquet", interactions=tables / "interactions.parquet",
        boards=tables / "boards.parquet", board_items=tables / "board_items.parquet",
    )  # fmt: skip
    catalog = Catalog.open(home / "catalog")
    with publish(
        home / "vectors", "vectors", {"encoder": "enc", "normalised": True}, {"catalog": catalog.fingerprint}
    ) as work:
        values = np.random.default_rng(0).normal(size=(len(catalog.item_ids), 8)).astype(np.float32)
        write_vectors(work.path, catalog.item_ids, normalise(values))
    build_graph(home / "catalog", home / "graph", valid_fraction=0.5)
    tiny_backbone(home / "stock", "qwen2_5_vl")
    swap(home / "swapped", str(home / "stock"), vectors=home / "vectors")
    index(home / "vectors", home / "index")
    return home
