"""Shared tiny worlds: random Qwen-VL checkpoints small enough to build in milliseconds."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # one process and two are compared, and two share no GPU
# Tensors of a few numbers: threads only wait for each other, spinning, and where other work has the cores for very long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import io
<<<<<<< HEAD
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
=======
>>>>>>> origin/helper-tests
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

pytest_plugins = ["clip_worlds", "forget_worlds", "pipeline_worlds", "stage_worlds"]  # fixtures of more than one file

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
<<<<<<< HEAD


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


@dataclass
class Reaction:
    """What the chat server does with a request: text is the model's message, raw the whole body in its place."""

    text: str | None = '{"ranking": [2, 1]}'
    status: int = 200
    raw: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False
    usage: dict[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 50})
    message: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"

    def body(self) -> bytes:
        message = {"role": "assistant", "content": self.text} | self.message
        completion = {"choices": [{"index": 0, "message": message, "finish_reason": self.finish}], "usage": self.usage}
        return (json.dumps(completion) if self.raw is None else self.raw).encode()


class ChatServer(ThreadingHTTPServer):
    """Speaks /v1/chat/completions on loopback; `react` decides, `seen` keeps what came, `at_once` the most under way."""

    daemon_threads = True

    def __init__(self, react: Callable[[dict[str, Any], int], Reaction]):
        super().__init__(("127.0.0.1", 0), _ChatHandler)
        self.react, self.lock = react, threading.Lock()
        self.seen: list[tuple[dict[str, Any], dict[str, str], float]] = []
        self.under_way = self.at_once = 0
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _ChatHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append((body, {k.lower(): v for k, v in self.headers.items()}, time.monotonic()))
            number = len(self.server.seen)
            self.server.under_way += 1
            self.server.at_once = max(self.server.at_once, self.server.under_way)
        reaction = self.server.react(body, number)
        time.sleep(reaction.delay_s)
        with self.server.lock:
            self.server.under_way -= 1
        self._answer(reaction)

    def _answer(self, reaction: Reaction) -> None:
        sent = reaction.body()
        self.close_connection = reaction.cut
        try:
            self.send_response(reaction.status)
            named = {"Content-Type": "application/json", "Content-Length": str(len(sent))} | reaction.headers
            for name, value in named.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent[: len(sent) // 2] if reaction.cut else sent)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client gave up

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def chat_server() -> Iterator[Callable[..., ChatServer]]:
    """Starts servers that react as told: with one reaction always, or as a function of the body and its number (from 1)."""
    started: list[ChatServer] = []

    def start(react: Reaction | Callable[[dict[str, Any], int], Reaction]) -> ChatServer:
        server = ChatServer((lambda body, number: react) if isinstance(react, Reaction) else react)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def reaction() -> type[Reaction]:
    return Reaction
=======
>>>>>>> origin/helper-tests
