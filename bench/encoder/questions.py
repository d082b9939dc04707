"""What is asked: held-out items that training could not have seen, boards with a held-out save, and labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from bench.encoder.figures import HeldOut
from navigator.contracts import Catalog, UserError
from navigator.contracts.catalog import held_out
from navigator.contracts.signals import Query, TasteSequence, board_titles, leave_one_out, make_queries, read_sequences

_ROWS = 256  # pictures read at once
_UNSEEN = "unseen.parquet"


@dataclass(frozen=True)
class BoardQuestions:
    """Test queries over boards, of owners that training saw (`scope` seen) or of those it never saw (unseen).

    Attributes:
        boards: history = the board's items and validation items, targets = its test items; unseen: each item in turn.
        mates: history = one test item, targets = the board's items and validation items.
        owners, mate_owners: who owns the board of each query, what intervals resample.
        cold, mate_cold: whether the test items have no training save at all.
    """

    scope: str
    boards: list[Query]
    mates: list[Query]
    owners: np.ndarray
    mate_owners: np.ndarray
    cold: np.ndarray
    mate_cold: np.ndarray


@dataclass(frozen=True)
class Questions:
    """Everything that is asked; positions are catalogue rows.

    Attributes:
        ids: external item ids.
        counts: of the held-out items.
        held: (h,) items that ask for neighbours, and the held-out gallery for them.
        text_items: (q,) those that ask by their text, and the held-out gallery for that.
        text_keys: (n,) equal for equal texts (case and outer spaces aside), -1 for none.
        labels: (n,) label codes, -1 for none; None without labels. `label_names` are the labels themselves.
        boards: seen and unseen, those that there are.
        titles: per item the titles of its training boards; None without a taste graph.
        all_titles: the same of all boards, held-out saves too: for colours alone, nothing is measured with them.
    """

    ids: list[str]
    counts: HeldOut
    held: np.ndarray
    text_items: np.ndarray
    text_keys: np.ndarray
    labels: np.ndarray | None
    label_names: list[str]
    boards: list[BoardQuestions]
    titles: list[list[str]] | None
    all_titles: list[list[str]] | None


def hold_out(catalog: Catalog, fraction: float, label: str | None) -> Questions:
    """The held-out items of a catalogue, less those whose very picture or text is among the others.

    Raises:
        UserError: nothing is held out or left, or no such label column.
    """
    chosen = held_out(catalog.item_ids, fraction)
    pictures = _picture_keys(catalog)
    texts = codes([(text or "").strip().casefold() for text in catalog.table("items", ["text"])["text"].to_pylist()])[0]
    picture_seen, text_seen = (chosen & _among(keys, keys[~chosen]) for keys in (pictures, texts))
    clean = chosen & ~picture_seen & ~text_seen
    if not clean.any():
        raise UserError(
            f"holdout {fraction:g} of {len(chosen):,} items leaves none to ask "
            f"({int(chosen.sum())} held out, all of them copies of others); give a larger --holdout"
        )
    askable = clean & (pictures >= 0) & (texts >= 0)
    labels, names = _labels(catalog, label) if label else (None, [])
    counts = HeldOut(
        fraction=fraction, items=int(chosen.sum()), picture_seen=int(picture_seen.sum()),
        text_seen=int(text_seen.sum()), asked=int(clean.sum()),
        without_picture_or_text=int((clean & ~askable).sum()), text_queries=int(askable.sum()),
        unlabelled=None if labels is None else int((clean & (labels < 0)).sum()),
    )  # fmt: skip
    held, text_items = np.flatnonzero(clean), np.flatnonzero(askable)
    return Questions(catalog.item_ids, counts, held, text_items, texts, labels, names, [], None, None)


def readable(questions: Questions, has_picture: np.ndarray) -> Questions:
    """The same without text queries whose picture turned out to be unreadable ((n,) bool)."""
    kept = questions.text_items[has_picture[questions.text_items]]
    lost = len(questions.text_items) - len(kept)
    counts = questions.counts.model_copy(
        update={
            "text_queries": len(kept),
            "without_picture_or_text": questions.counts.without_picture_or_text + lost,
        }
    )
    return replace(questions, text_items=kept, counts=counts)


def asks_boards(sequences: list[TasteSequence]) -> bool:
    """Whether any board of a taste graph holds something out; a graph of users' logs alone asks nothing here."""
    return any(s.task == "board-completion" and s.test for s in sequences)


def with_boards(questions: Questions, catalog: Catalog, folder: Path, seen: list[TasteSequence]) -> Questions:
    """Add the boards of a taste graph.

    Args:
        questions: so far.
        catalog: for the owners of the boards.
        folder: of the graph; boards of unseen owners are read from its unseen.parquet, when it has one.
        seen: its sequences.
    """
    n = len(questions.ids)
    saved = np.zeros(n, bool)
    for s in seen:
        saved[list(s.items)] = True
    table = catalog.table("boards", ["board_id", "owner_id"])
    owners = dict(zip(table["board_id"].to_pylist(), table["owner_id"].to_pylist(), strict=True))
    path = folder / _UNSEEN
    unseen = read_sequences(path, catalog.item_index) if path.is_file() else []
    groups = [("seen", seen)] + ([("unseen", unseen)] if any(s.test for s in unseen) else [])
    boards = [_board_questions(scope, rows, owners, saved, questions.ids) for scope, rows in groups]
    whole = [replace(s, items=s.items + s.valid + s.test) for s in [*seen, *unseen]]
    return replace(questions, boards=boards, titles=board_titles(seen, n), all_titles=board_titles(whole, n))


def codes(names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """(n,) numbers, equal for equal names in order of first appearance, -1 for "", and the names by number."""
    seen: dict[str, int] = {}
    found = [seen.setdefault(name, len(seen)) if name else -1 for name in names]
    return np.array(found, np.int64), list(seen)


def _board_questions(
    scope: str, sequences: list[TasteSequence], owners: dict[str, str | None], saved: np.ndarray, ids: list[str]
) -> BoardQuestions:
    """Seen boards are asked for their held-out item; of unseen ones, which taught nothing, every item is held out in turn."""
    if scope == "seen":
        asked = make_queries(sequences, "board-completion", "test")
    else:
        asked = leave_one_out([s for s in sequences if s.test])
    mates = [Query(f"{q.query_id} {ids[i]}", (i,), q.history) for q in asked for i in q.targets]
    mine = [q.query_id for q in asked for _ in q.targets]
    owner = {q.query_id: owners.get(q.query_id) or q.query_id for q in asked}
    boards = [replace(q, query_id=f"{q.query_id} {' '.join(ids[i] for i in q.targets)}") for q in asked]
    return BoardQuestions(
        scope, boards, mates,
        np.array([owner[q.query_id] for q in asked]), np.array([owner[board] for board in mine]),
        np.array([not saved[list(q.targets)].any() for q in boards]), np.array([not saved[q.history[0]] for q in mates]),
    )  # fmt: skip


def _picture_keys(catalog: Catalog) -> np.ndarray:
    """(n,) equal for byte-equal pictures, -1 for none."""
    seen: dict[bytes, int] = {}
    keys: list[int] = []
    with tqdm(total=catalog.rows("items"), desc="compare pictures", unit="item") as bar:
        for batch in catalog.batches(["image"], _ROWS):
            for image in batch["image"].to_pylist():
                data = (image or {}).get("bytes")
                keys.append(seen.setdefault(hashlib.sha256(data).digest(), len(seen)) if data else -1)
            bar.update(len(batch))
    return np.array(keys, np.int64)


def _among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) bool: whether a key that is not "none" is one of the others."""
    return (keys >= 0) & np.isin(keys, others)


def _labels(catalog: Catalog, column: str) -> tuple[np.ndarray, list[str]]:
    schema = pq.read_schema(catalog.path / "items.parquet")
    plain = [f.name for f in schema if not pa.types.is_nested(f.type) and f.name not in ("item_id", "text")]
    if column not in plain:
        raise UserError(
            f"label {column!r} is no column of {catalog.path}/items.parquet; allowed are {', '.join(plain)}"
        )
    values = catalog.table("items", [column])[column].to_pylist()
    return codes(["" if value is None else str(value).strip() for value in values])
