"""What the tests of encoder tuning share: items of four topics with their boards, two tiny encoders, a tuning of both."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    PreTrainedTokenizerFast,
)

TOPICS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230), "dark": (25, 20, 30)}
NO_PICTURE, NO_TEXT, NEITHER, BROKEN = (5, 18), (9, 22), 40, 33
UNSEEN_ALONE = (56, 57, 58, 59)  # only boards of unseen owners hold them


def topic_tokenizer() -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *TOPICS, "thing", "things", "of", "a", *map(str, range(60))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def tiny_clip(folder: Path, text: str = "bert", seed: int = 0) -> Path:
    """A random open_clip folder of 16 dimensions: a timm tower at 32 pixels; a BERT or open_clip's own text tower."""
    import open_clip

    folder.mkdir(parents=True)
    text_cfg = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    if text == "bert":
        text_cfg = {
            "hf_model_name": "nobody/tiny-bert", "hf_model_pretrained": False, "hf_tokenizer_name": "nobody/tiny-bert",
            "hf_proj_type": "linear", "hf_pooler_type": "mean_pooler", "context_length": 8,
        }  # fmt: skip
        BertConfig(
            vocab_size=80, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=16, initializer_range=0.3,
        ).save_pretrained(folder)  # fmt: skip
        topic_tokenizer().save_pretrained(folder)
    vision: Any = {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32}
    config = {
        "model_cfg": {"embed_dim": 16, "custom_text": True, "vision_cfg": vision, "text_cfg": text_cfg},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "longest", "fill_color": 255},
    }  # fmt: skip
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    local: Any = text_cfg | {"hf_model_name": str(folder)} if text == "bert" else text_cfg
    torch.manual_seed(seed)
    model = open_clip.model.CustomTextCLIP(16, vision, local)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    for name, value in weights.items():  # residual branches begin at zero, and would not learn in the first step
        if name.endswith(".weight") and not value.any():
            value.fill_(1)
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    return folder


def topic_catalog(folder: Path) -> Path:
    """60 items, item n of topic n % 4, in its colour and with its name; 24 boards of eight items of one topic; six users.

    Some items lack their picture or their text or both, or have a broken picture; some have a caption.
    """
    from navigator.contracts import publish
    from navigator.contracts.catalog import BOARD_ITEMS, BOARDS, INTERACTIONS, ITEMS, REJECTS

    rng, names = np.random.default_rng(4), list(TOPICS)

    def picture(n: int) -> bytes:
        noise = rng.integers(-20, 20, size=(24, 32, 3)) + np.array(TOPICS[names[n % 4]])
        sink = io.BytesIO()
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(sink, "PNG")
        return sink.getvalue()[: 60 if n == BROKEN else None]

    ids = [f"i{n:02}" for n in range(60)]
    texts = [f"{names[n % 4]} thing {n if n > 8 else n % 4}" for n in range(60)]  # 0, 4 and 8 read the same
    texts = ["" if n in (*NO_TEXT, NEITHER) else text for n, text in enumerate(texts)]
    images = [None if n in (*NO_PICTURE, NEITHER) else {"bytes": picture(n), "path": None} for n in range(60)]
    captions = [f"a thing of {names[n % 4]}" if n % 5 == 0 else "" for n in range(60)]
    columns = [ids, texts, [""] * 60, [[]] * 60, images, texts, captions]
    items = pa.table(columns, schema=ITEMS.append(pa.field("caption", pa.string())))
    alone = {3: 59, 4: 56, 10: 58, 17: 57}  # boards of unseen owners, see graph.unseen.owner_parts
    chosen = np.random.default_rng(204)
    boards = {b: chosen.permutation(np.arange(b % 4, 56, 4))[: 7 if b in alone else 8].tolist() for b in range(24)}
    boards |= {b: [*boards[b], item] for b, item in alone.items()}
    held = [(f"b{b:02}", ids[item], None) for b, own in boards.items() for item in own]
    titles = [f"{names[b % 4]} things {b // 8}" for b in range(24)]
    logs = [
        (f"u{u}", ids[n], "save", t)
        for u in range(6)
        for t, n in enumerate(rng.permutation(np.arange(u % 4, 56, 4))[:6])
    ]
    with publish(folder, "catalog", {}, {}) as work:
        pq.write_table(items, work.path / "items.parquet", row_group_size=25)
        named = {"boards": [[f"b{b:02}" for b in range(24)], titles, [f"o{b}" for b in range(24)]]}
        named |= {"board_items": list(zip(*held, strict=True)), "interactions": list(zip(*logs, strict=True))}
        schemas = {"boards": BOARDS, "board_items": BOARD_ITEMS, "interactions": INTERACTIONS}
        for name, rows in named.items():
            pq.write_table(
                pa.table([list(column) for column in rows], schema=schemas[name]), work.path / f"{name}.parquet"
            )
        pq.write_table(REJECTS.empty_table(), work.path / "rejects.parquet")
    return folder


@pytest.fixture(scope="session")
def clip_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with catalog, graph (with unseen owners), and two encoders to tune: bert and native."""
    from graph.commands import build_graph

    home = tmp_path_factory.mktemp("clip")
    topic_catalog(home / "catalog")
    build_graph(home / "catalog", home / "graph", valid_fraction=0.6, walks=100, unseen_owners=0.2, unseen_valid=0.15)
    for text in ("bert", "native"):
        tiny_clip(home / text, text)
    return home


@pytest.fixture
def make_tuning(clip_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Builds train.clip.run.Tuning on the topics, small and in float32; `work` and any of its parts can be given."""
    from navigator.contracts import Catalog
    from train.clip import run
    from train.clip.config import RATES, ClipConfig, TowerConfig
    from train.loop import LoopConfig, make_accelerator

    monkeypatch.setattr(run, "fast_dtype", lambda device: torch.float32)
    loop = LoopConfig(
        steps=6, batch_size=12, warmup=1, precision="no", save_every=2, eval_every=0, learning_rates=RATES
    )

    def make(
        work: Path = tmp_path, encoder: str = "bert", taste_graph: bool = True, holdout: float = 0.1, valid: float = 0.3,
        cache: Path | None = clip_project / "cache", towers: dict | None = None, objective: dict | None = None, **changes,
    ):  # fmt: skip
        work.mkdir(exist_ok=True)
        chosen = replace(loop, **changes)
        given = TowerConfig(**{"workers": 0} | (towers or {}))
        losses = ClipConfig(**{"prefixes": (4, 8, 0), "hard_negatives": 2, "stay": 0.1} | (objective or {}))
        name = str(clip_project / encoder) if (clip_project / encoder).is_dir() else encoder
        return run.Tuning(
            make_accelerator(chosen), Catalog.open(clip_project / "catalog"), clip_project / "graph" if taste_graph else None,
            name, holdout, valid, cache, given, losses, chosen, work,
        )  # fmt: skip

    return make
