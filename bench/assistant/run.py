"""`navigator-bench assistant`: replay, score, put intervals around it, write.

report.json, report.md   figures by system and stratum
requests.parquet         one row a request: what was said, shown and named, and how it was scored
qrels.trec, run.*.trec   judgements and lists of every turn that expects items, so that any tool can check
"""

import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.assistant.client import Endpoint
from bench.assistant.figures import SCHEMA_VERSION, AssistantReport
from bench.assistant.gold import GOLD, Conversation, Picture, check_catalog, choose, read_gold
from bench.assistant.grounding import Titles
from bench.assistant.options import Options
from bench.assistant.replay import Asked, replay
from bench.assistant.score import Facts, Row, judged, row
from bench.assistant.summary import system_rows
from bench.assistant.systems import ASSISTANT, Assistant, Search, System
from bench.assistant.tables import assistant_markdown, assistant_text, protocol
from bench.documents import DOCUMENTS, where, write_documents
from bench.load.target import check_url, read_headers
from bench.provenance import came_about
from bench.trec import escape, file_name
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.manifest import check_free, file_digest

KIND = "assistant-report"
_TEXT, _IDS, _REAL, _FLAG = pa.string(), pa.list_(pa.string()), pa.float64(), pa.bool_()
_SCHEMA = {
    "system": _TEXT, "conversation": _TEXT, "split": _TEXT, "stratum": _TEXT, "turn": pa.int64(), "last": _FLAG,
    "expect": _TEXT, "words": _TEXT, "error": _TEXT, "status": pa.int64(), "waits": pa.int64(),
    "latency_ms": _REAL, "release": _TEXT,
    "text": _TEXT, "items": _IDS, "seen": _IDS, "retrieved": _FLAG, "refused": _FLAG, "says_grounded": _FLAG,
    "prompt_tokens": pa.int64(), "completion_tokens": pa.int64(), "names": _IDS, "names_elsewhere": _IDS,
    "names_invented": _IDS, "grounded": _FLAG, "ndcg": _REAL, "ndcg_condensed": _REAL, "judged": _REAL,
    **{f"broke_{name}": pa.int64() for name in ("seen", "keyword", "board", "never")},
    **{f"asked_{name}": _FLAG for name in ("seen", "keyword", "board", "never")},
}  # fmt: skip


def measure_assistant(options: Options) -> dict[str, Any]:
    """Ask, score and write the report.

    Raises:
        UserError: see bench.assistant.command.
    """
    check_url(options.url)
    check_free(options.out, KIND)
    gold, catalog = options.gold or GOLD, Catalog.open(options.catalog)
    chosen = choose(read_gold(gold), options.split)
    check_catalog(chosen, catalog)
    endpoint = Endpoint(options.url, options.timeout_s, read_headers())
    _check_up(options.url, options.timeout_s)
    asked = replay(chosen, _systems(options, endpoint, _pictures(chosen, catalog)))
    facts = _facts(catalog)
    rows = [row(own, facts) for own in asked]
    report = _report(options, chosen, rows, {"catalog": catalog.fingerprint, "gold": file_digest(gold)[:16]})
    with publish(options.out, KIND, report.config, report.inputs, options.seed) as work:
        table = pa.Table.from_pylist(rows, pa.schema(list(_SCHEMA.items())))
        pq.write_table(table, work.path / "requests.parquet")
        files = [*DOCUMENTS, "requests.parquet", *_write_trec(work.path, asked)]
        write_documents(work.path, report, assistant_markdown(report, files))
        work.metrics = _means(report)
    return _answer(options, report)


def _systems(options: Options, endpoint: Endpoint, images: dict[str, bytes]) -> list[System]:
    own: list[System] = [Assistant(endpoint, images, options.echo, options.mode, options.max_tokens)]
    return own + [Search(endpoint, images, every) for every in (False, True)] if options.baselines else own


def _check_up(url: str, timeout_s: float) -> None:
    """Raises UserError where nobody listens; any answer will do."""
    try:
        urllib.request.urlopen(url, timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return
    except OSError as error:
        raise UserError(
            f"nobody answers at {url} ({error}); start `navigator serve`, or give its address (--url)"
        ) from error


def _pictures(conversations: Sequence[Conversation], catalog: Catalog) -> dict[str, bytes]:
    """Pictures of the catalogue items that the set changes and shows."""
    parts = [part for own in conversations for turn in own.turns for part in turn.parts]
    wanted = sorted({part.item for part in parts if isinstance(part, Picture)})
    found = catalog.images(wanted) if wanted else {}
    missing = next((item for item in wanted if item not in found), None)
    if missing is not None:
        raise UserError(
            f"item {missing!r} of the gold set has no picture in catalog {catalog.path}; give --gold without it"
        )
    return found


def _facts(catalog: Catalog) -> Facts:
    items = catalog.table("items", ["item_id", "title", "keywords"]).to_pydict()
    boards: dict[str, set[str]] = {}
    links = catalog.table("board_items", ["board_id", "item_id"]).to_pydict()
    for board, item in zip(links["board_id"], links["item_id"], strict=True):
        boards.setdefault(board, set()).add(item)
    return Facts(
        keywords={item: words or [] for item, words in zip(items["item_id"], items["keywords"], strict=True)},
        boards={board: frozenset(own) for board, own in boards.items()},
        titles=Titles({item: title or "" for item, title in zip(items["item_id"], items["title"], strict=True)}),
    )


def _report(
    options: Options, chosen: Sequence[Conversation], rows: list[Row], inputs: dict[str, str]
) -> AssistantReport:
    config = options.config() | {"schema_version": SCHEMA_VERSION}
    return AssistantReport(
        split=options.split, conversations=len(chosen),
        turns=dict(Counter(str(turn.expect) for own in chosen for _, turn in own.asked())),
        strata=dict(Counter(own.stratum for own in chosen)), systems=system_rows(rows, options.seed),
        **came_about(options.seed, options.command_line(), config, inputs, protocol(options)),
    )  # fmt: skip


def _write_trec(folder: Path, asked: Sequence[Asked]) -> list[str]:
    """Names of the files; the judgements are those of the assistant's turns, as what was seen differs by system."""
    wanted = [own for own in asked if own.turn.expect == "items"]
    for own in wanted:
        query = escape(f"{own.conversation.id}.{own.place}")
        lines = [
            f"{query} Q0 {escape(item)} {rank} {-rank} {own.system}\n" for rank, item in enumerate(own.reply.items, 1)
        ]
        with (folder / file_name(own.system)).open("a") as handle:
            handle.writelines(lines)
        if own.system == ASSISTANT:
            with (folder / "qrels.trec").open("a") as handle:
                handle.writelines(f"{query} 0 {escape(item)} {grade}\n" for item, grade in judged(own).items())
    return sorted({file_name(own.system) for own in wanted} | {"qrels.trec"}) if wanted else []


def _means(report: AssistantReport) -> dict[str, Any]:
    return {
        name: {
            "ndcg_last": own.last.ndcg and own.last.ndcg.mean, "ndcg": own.all_turns.ndcg and own.all_turns.ndcg.mean,
            "refusal_f1": own.refusals.f1 and own.refusals.f1.mean,
            "grounded": own.groundedness and own.groundedness.grounded and own.groundedness.grounded.mean,
            "failed": own.failed,
        }
        for name, own in report.systems.items()
    }  # fmt: skip


def _answer(options: Options, report: AssistantReport) -> dict[str, Any]:
    own = report.systems[ASSISTANT]
    return {
        "out": str(options.out), "split": report.split, "conversations": report.conversations, "figures": _means(report),
        "exit_code": int(own.failed == own.requests), "text": f"{assistant_text(report)}\n\n{where(options.out, False)}",
    }  # fmt: skip
