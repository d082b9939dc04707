"""The commands of `navigator-bench gold`: from a sample that people grade to a frozen set that systems are scored on."""

from pathlib import Path
from typing import Any

from bench.gold.options import Allocation, CheckOptions, Kind, MakeOptions, RunOptions, Settings, Systems
from navigator.contracts.errors import UserError


def make(
    catalog: Path,
    graph: Path,
    out: Path = Path("runs/gold-task"),
    queries: int = 60,
    kinds: list[Kind] | None = None,
    texts: Path | None = None,
    allocation: Allocation = "equal",
    systems: list[str] | None = None,
    vectors: dict[str, str] | None = None,
    models: dict[str, str] | None = None,
    encoder: str | None = None,
    depth: int = 10,
    random: int = 1,
    held_out: bool = True,
    annotators: list[str] | None = None,
    overlap: float = 0.25,
    show: int = 12,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Draw a sample of queries and items to be graded, and write a page and a CSV for every annotator.

    Args:
        catalog: catalogue folder.
        graph: taste graph folder: boards, users and what is held out of them.
        out: task folder to write; its for-annotators/ is all that annotators may see.
        queries: how many to draw, spread over strata: kind x popularity (head, torso, tail).
        kinds: of board (title and saves), title (a board's title alone), user (saves), text (from --texts); all that
            there is something of by default.
        texts: file of free-text queries (CSV, TSV, Parquet): columns text and, where known, count (how often it is asked).
        allocation: equal (as many from every stratum) or proportional to their sizes; probabilities are written.
        systems: whose first items are pooled, of popularity, item-knn, item-knn-short, ease, ease-short; popularity and
            item-knn by default, [] for none.
        vectors: name=folder of item vectors, such as content=runs/vectors,content-graph=runs/refined, in the pool too.
        models: name=model:vectors, a swapped (or native) model and the vectors it reads, in the pool too.
        encoder: the encoder of the vectors (as for `navigator search`), so that they and models answer titles and texts.
        depth: items of each system's ranking that go into the pool.
        random: items outside the pool that are drawn from each popularity band, to see what the pool missed.
        held_out: whether held-out saves are in the pool too.
        annotators: their names (letters, digits, dot, dash, underscore); a,b by default.
        overlap: share of the queries that all annotators grade, for their agreement.
        show: latest items of a history that annotators see.
        settings: of the systems.
        device: "auto", "cpu", "cuda" or "cuda:N", for models.
        seed: of every draw and order.

    Returns:
        Counts by stratum, annotator and system, and the same as text.

    Raises:
        UserError: a missing or foreign input, an unknown name, an option out of range.
    """
    names = ["a", "b"] if annotators is None else annotators
    ranked_by = Systems(
        ["popularity", "item-knn"] if systems is None else systems, vectors or {}, models or {}, encoder, settings, device
    )  # fmt: skip
    options = MakeOptions(
        catalog, graph, out, ranked_by, queries, kinds, texts, allocation, depth, random, held_out, names, overlap, show, seed
    )  # fmt: skip
    options.check()
    from bench.gold.make import make_task

    return make_task(options)


def check(
    task: Path,
    grades: dict[str, str],
    out: Path = Path("runs/gold-check"),
    third: Path | None = None,
    tolerance: int = 1,
    freeze: Path | None = None,
    allow_missing: bool = False,
    simulated: bool = False,
    worst: int = 20,
    seed: int = 0,
) -> dict[str, Any]:
    """Read the annotators' files, measure how far they agree, settle what they differ in, and freeze the set.

    A pair's grade: the one given; of equal ones that; of ones that differ by at most --tolerance their mean, a half rounded
    down (the doubt is held against the item); of ones that differ by more, the grade in the file --third and nothing else.

    Args:
        task: folder that `gold make` wrote.
        grades: name=file of every annotator, such as a=a.csv,b=b.csv (CSV, TSV or Parquet; columns pair and grade).
        out: report folder to write: agreement, bad rows, worst disagreements, and what a third person must decide.
        third: grades of the pairs that annotators differ too much in, same columns.
        tolerance: largest difference that a mean settles.
        freeze: folder to freeze the set in, once nothing is open; a frozen folder is never changed.
        allow_missing: freeze although some pairs have no grade (they count as unjudged).
        simulated: say it when grades come from a rule or a model and not from people: everything made with the set says so.
        worst: disagreements that are listed and drawn.
        seed: of resampling.

    Returns:
        Agreement, counts, what is open, the frozen set's fingerprint, and the same as text. Exit code 1 where --freeze was
        asked for and something is open.

    Raises:
        UserError: a missing file or column, an unknown annotator, a frozen folder that would change.
    """
    if tolerance < 0 or worst < 0:
        raise UserError(f"tolerance is {tolerance} and worst {worst}; allowed are whole numbers from 0")
    from bench.gold.check import check_grades

    return check_grades(
        CheckOptions(task, grades, out, third, tolerance, freeze, allow_missing, simulated, worst, seed)
    )


def run(
    gold: Path,
    catalog: Path | None = None,
    graph: Path | None = None,
    out: Path = Path("runs/gold-report"),
    systems: list[str] | None = None,
    vectors: dict[str, str] | None = None,
    models: dict[str, str] | None = None,
    runs: dict[str, str] | None = None,
    rivals: list[str] | None = None,
    encoder: str | None = None,
    expect: str | None = None,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Score systems against a frozen gold set: graded NDCG@10, sDCG@25, precision, recall, share judged, with intervals.

    Args:
        gold: frozen folder that `gold check --freeze` wrote.
        catalog: catalogue folder; not needed where only --runs are scored.
        graph: taste graph folder that systems learn from; as for --catalog.
        out: report folder to write.
        systems: of popularity, item-knn, item-knn-short, ease, ease-short; popularity and item-knn by default where a
            catalogue is given, [] for none.
        vectors: name=folder of item vectors, such as content=runs/vectors.
        models: name=model:vectors, a swapped (or native) model and the vectors it reads.
        runs: name=file, TREC run files of other systems (query ids and item ids as in the set, percent-encoded).
        rivals: systems that all others are paired with; the first system by default.
        encoder: the encoder of the vectors, so that they and models answer titles and texts.
        expect: refuse the set unless it has this fingerprint, for pipelines.
        settings: of the systems.
        device: "auto", "cpu", "cuda" or "cuda:N", for models.
        seed: of resampling.

    Returns:
        Where the report is, means by slice and system, and the tables as text.

    Raises:
        UserError: a changed set (both fingerprints are named), a missing or foreign input, an unknown name.
    """
    local = ["popularity", "item-knn"] if systems is None and catalog is not None else systems or []
    ranked_by = Systems(local, vectors or {}, models or {}, encoder, settings, device)
    named = runs or {}
    ranked_by.check(tuple(named))
    taken = [*local, *ranked_by.vectors, *ranked_by.models, *named]
    if not taken:
        raise UserError(
            "no system given; name some with --systems, --vectors, --models (with --catalog and --graph) or --runs"
        )
    if len(taken) > len(named) and (catalog is None or graph is None):
        raise UserError(
            f"system {taken[0]!r} needs --catalog and --graph; give both, or score TREC files with --runs alone"
        )
    foreign = next((rival for rival in rivals or [] if rival not in taken), None)
    if foreign is not None:
        raise UserError(f"rival {foreign!r} is none of the systems: {', '.join(taken)}")
    from bench.gold.run import run_gold

    return run_gold(
        RunOptions(gold, catalog, graph, out, ranked_by, named, list(dict.fromkeys(rivals or taken[:1])), expect, seed)
    )
