"""Command `navigator recommend`: who asks, what they have already, and the pipeline's answer with its reasons."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navigator.contracts import Catalog, UserError

if TYPE_CHECKING:
    from navigator.pipeline import Answer, Recommendation


def recommend(
    model: Path, vectors: Path, index: Path, catalog: Path, board: str | None = None, user: str | None = None,
    items: list[str] | None = None, text: str | None = None, k: int = 10, retrieve: int = 200, decay: float = 0.95,
    similar: float = 0.8, ranking: float = 1.0, weights: dict[str, float] | None = None, titles: bool = True,
    encoder: str | None = None, keyword: str | None = None, include_seen: bool = False, timings: bool = False,
    sheet: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Recommend items for a board, a user, a list of items or words, and say why; what they have already is left out.

    Args:
        model: a swapped, trained model folder.
        vectors: the item vectors it reads.
        index: an index of those vectors.
        catalog: the catalogue.
        board: complete this board.
        user: go on from this user's saves.
        items: start from these item ids.
        text: words to go by, alone or beside one of the three above.
        k: how many.
        retrieve: candidates that are retrieved and ranked, at least k.
        decay: an item's score is multiplied by it for every similar item above, above 0 to 1; 1 is off.
        similar: cosine of content from which two items are similar.
        ranking: how much the model's order of the candidates counts against that of the fused sources, 0 to 1.
        weights: of the sources of candidates, SOURCE=NUMBER,...; default model=1,content-graph=1,content=0.5,text=1,picture=1.
        titles: whether the model reads the words, or without words the board's title.
        encoder: what made the vectors' content, to read words and titles with; default "embedded" where there is no history
            or words are given, else none.
        keyword: only items that carry this keyword.
        include_seen: recommend also what they have already.
        timings: say how many milliseconds each stage took; the first request of a process is slower than the next.
        sheet: write a contact sheet (query row, result row) to this PNG.
    """
    from navigator.options import Options

    options = Options(retrieve, weights or {}, ranking, decay, similar)
    if retrieve < k:
        raise UserError(f"retrieve is {retrieve} and k is {k}; ask for fewer, or give a --retrieve of {k} and more")
    asked = who_asks(Catalog.open(catalog), board, user, items, text)
    from navigator.pipeline import Pipeline

    reader = encoder or ("embedded" if asked.text or not asked.history else None)
    pipeline = Pipeline.open(model, vectors, index, catalog, reader, options)
    title = (asked.text or asked.title) if titles else ""
    answer = pipeline.recommend(asked.history, k, title, asked.text or asked.title,
                                include_seen=include_seen, keyword=keyword)  # fmt: skip
    lines = [asked.name, *(line for n, r in enumerate(answer.results, 1) for line in _lines(n, r))]
    document: dict[str, Any] = {
        "query": asked.name, "title": asked.title, "history": asked.history, "asked": k, "candidates": answer.candidates,
        "ranked": answer.ranked, "options": asdict(options), "results": [asdict(r) for r in answer.results],
    }  # fmt: skip
    lines += _notes(answer, k)
    if timings:
        document["timings_ms"] = answer.timings_ms
        lines.append("  ".join(f"{stage} {spent:.1f} ms" for stage, spent in answer.timings_ms.items()))
    if sheet is not None:
        from navigator.answer_sheet import draw_answer

        shown = asked.history[-pipeline.recommender.max_history :][::-1]  # the newest first: a sheet has room for few
        document["sheet"] = draw_answer(
            pipeline.catalog, sheet, f"{asked.name}, newest first", shown, [r.item for r in answer.results]
        )
        lines.append(f"contact sheet: {sheet}")
    return document | {"text": "\n".join(lines)}


@dataclass(frozen=True)
class Asked:
    """Who asks: a name for the answer, the board's title, the item ids they have (oldest first), and words."""

    name: str
    title: str
    history: list[str]
    text: str


def who_asks(catalog: Catalog, board: str | None, user: str | None, items: list[str] | None, text: str | None) -> Asked:
    """Raises UserError for none or several of board, user and items (text may come alone), and for an unknown one."""
    words = (text or "").strip()
    given = [one for one in (board, user, items) if one is not None]
    if len(given) > 1 or not (given or words):
        raise UserError(
            'give one of --board ID, --user ID and --items a,b,c, or --text "words", or one of them and words'
        )
    if items is not None:
        unknown = [i for i in items if i not in catalog.item_index]
        if unknown:
            raise UserError(
                f"item {unknown[0]!r} is not in catalog {catalog.path} ({len(catalog.item_ids):,} items); check the id"
            )
        return Asked(f"like {len(items)} items", "", items, words)
    if board is not None:
        title, saved = _title(catalog, board), _saved(catalog, "board_items", "board_id", board, "saved_at")
        if not saved and title is None:
            _refuse(catalog, "board_items", "board_id", board)
        return Asked(f"board {board} {title or ''}".strip(), title or "", saved, words)
    if user is not None:
        saved = _saved(catalog, "interactions", "user_id", user, "at")
        if not saved:
            _refuse(catalog, "interactions", "user_id", user)
        return Asked(f"user {user}", "", saved, words)
    return Asked(words, "", [], words)


def _saved(catalog: Catalog, table: str, key: str, value: str, time: str) -> list[str]:
    """Item ids of an owner, each once, by time where every row has one."""
    import pyarrow.compute as pc

    rows = catalog.table(table, [key, "item_id", time])
    rows = rows.filter(pc.field(key) == value)
    rows = rows.sort_by([(time, "ascending")]) if rows[time].null_count == 0 else rows
    return list(dict.fromkeys(rows["item_id"].to_pylist()))


def _title(catalog: Catalog, board: str) -> str | None:
    """The title of a board, None for a board that the catalogue does not name."""
    import pyarrow.compute as pc

    found = catalog.table("boards", ["board_id", "title"]).filter(pc.field("board_id") == board)["title"].to_pylist()
    return (found[0] or "") if found else None


def _refuse(catalog: Catalog, table: str, key: str, value: str) -> None:
    known = sorted(set(catalog.table(table, [key])[key].to_pylist()))
    some = f"; some that it has: {', '.join(known[:5])}" if known else "; it has none"
    raise UserError(f"{key.removesuffix('_id')} {value!r} is not in catalog {catalog.path}{some}")


def _lines(n: int, result: "Recommendation") -> list[str]:
    """One result as text, its reasons below it."""
    lines = [f"{n:3}  {result.score:.5f}  {result.item}  {result.title}"]
    why = []
    if result.because is not None:
        why.append(f"because of {result.because.item} {result.because.title} (cosine {result.because.cosine:.2f})")
    if result.board is not None:
        name = f"{result.board.board} {result.board.title}".strip()
        why.append(f"on board {name} with {result.board.shared} of yours")
    if not why:
        why.append("found by " + ", ".join(f"{source} at {place}" for source, place in result.sources.items()))
    return [*lines, "       " + "; ".join(why)]


def _notes(answer: "Answer", k: int) -> list[str]:
    """What a reader should know of an answer that is shorter or plainer than they asked for."""
    notes = []
    if len(answer.results) < k:
        notes.append(f"{len(answer.results)} of {k}: no more items are left that may be recommended")
    if not answer.ranked:
        notes.append("in the order of retrieval: --ranking is 0, or the model had nothing to read")
    return notes
