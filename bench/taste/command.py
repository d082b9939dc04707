"""The command `navigator-bench taste`: recommenders side by side on one split of a taste graph, each tuned on validation."""

import re
from pathlib import Path
from typing import Any

from bench.taste.options import Grids, Options, Part
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Task

SYSTEMS = ("popularity", "item-knn", "item-knn-short", "ease", "ease-short", "sasrec", "sasrec-vectors")
DEFAULT = SYSTEMS[:5]


def taste(
    catalog: Path,
    graph: Path,
    out: Path = Path("runs/taste-report"),
    systems: list[str] | None = None,
    vectors: dict[str, str] | None = None,
    models: dict[str, str] | None = None,
    scores: dict[str, str] | None = None,
    rivals: list[str] | None = None,
    task: Task = "next-item",
    part: Part = "test",
    show: int = 2,
    titles: bool = True,
    encoder: str | None = None,
    refit: bool = True,
    tune_queries: int = 1000,
    cold_max: int = 2,
    gap: float = 60.0,
    sasrec_vectors: Path | None = None,
    sasrec_seeds: list[int] | None = None,
    sasrec_seconds: float = 180.0,
    sasrec_epochs: int = 200,
    sasrec_patience: int = 8,
    grids: Grids = Grids(),  # noqa: B008 (frozen)
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Compare recommenders on the same held-out saves, every one tuned on validation, the test looked at once.

    Args:
        catalog: catalogue folder.
        graph: taste graph folder; its split says what is known and what is asked. Validation is what settings are
            chosen on, so build it with --valid_fraction 1.0.
        out: report folder to write.
        systems: of popularity, item-knn, item-knn-short, ease, ease-short, sasrec, sasrec-vectors; the first five by
            default, [] for none.
        vectors: name=folder of item vectors, such as content=runs/vectors,content-graph=runs/refined: each is a kNN
            system.
        models: name=model:vectors, a trained swapped (or native) model and the vectors it reads. Names that differ
            only after an @ (ours@0, ours@1) are seeds of one recipe: figures are their means, query by query.
        scores: name=file.npy of another system's scores, one row a query and one column an item.
        rivals: systems (recipes) that all others are paired with; the first system by default.
        task: next-item (users) or board-completion (boards).
        part: test, valid, unseen-test or unseen-valid (boards of owners that nothing was trained on; a board of which
            training knows no item is asked among the items that nobody saved in training, by every system).
        show: of unseen boards, how many items a request shows; 0 asks with the title alone.
        titles: whether requests carry the titles of boards.
        encoder: the encoder of the vectors (as for `navigator search`): kNN systems then start from titles too.
        refit: whether the systems that are fitted here learn from validation saves too before the test is asked.
        tune_queries: most validation queries that a setting is tried on, a seeded choice; 0 takes all.
        cold_max: a query is cold when none of its targets has more saves than this.
        gap: seconds between the latest save and the target, above which a user's query is in the slice "gap".
        sasrec_vectors: item vectors that sasrec-vectors projects in place of an item table.
        sasrec_seeds: one run each; default 0,1,2.
        sasrec_seconds: most seconds that training tries one setting.
        sasrec_epochs: most epochs.
        sasrec_patience: epochs without a better validation figure after which training stops.
        grids: what is tried; give your own in a YAML file with --config, or one list with --grids.NAME [a,b].
        device: "auto", "cpu", "cuda" or "cuda:N", for models and SASRec.
        seed: of resampling, of drawn validation queries and of the items shown.

    Returns:
        Where the report is, chosen settings, means by slice and system, and the tables as text.

    Raises:
        UserError: a missing or foreign input, an unknown name, an empty part, an option out of range.
    """
    options = Options(
        catalog, graph, out, list(dict.fromkeys(DEFAULT if systems is None else systems)), vectors or {}, models or {},
        scores or {}, list(dict.fromkeys(rivals or [])), task, part, show, titles, encoder, refit, tune_queries, cold_max,
        gap, sasrec_vectors, [0, 1, 2] if sasrec_seeds is None else sasrec_seeds, sasrec_seconds, sasrec_epochs,
        sasrec_patience, grids, device, seed,
    )  # fmt: skip
    _check_names(options)
    _check_ranges(options)
    from bench.taste.run import compare_taste

    return compare_taste(options)


def _check_names(options: Options) -> None:
    unknown = next((name for name in options.systems if name not in SYSTEMS), None)
    if unknown is not None:
        raise UserError(f"unknown system {unknown!r}; allowed are {', '.join(SYSTEMS)}; name stores with --vectors")
    if "sasrec-vectors" in options.systems and options.sasrec_vectors is None:
        raise UserError("system 'sasrec-vectors' needs --sasrec_vectors FOLDER; add it or leave the system out")
    named = [*options.vectors, *options.models, *options.scores]
    taken = [*options.systems, *named]
    odd = next((n for n in named if not re.fullmatch(r"[\w.-]+(@[\w.-]+)?", n) or taken.count(n) > 1), None)
    if odd is not None:
        raise UserError(
            f"name {odd!r}: allowed are letters, digits, dot, dash, underscore and one @ before the number of a run, and "
            "every name once"
        )
    if not taken:
        raise UserError("no system given; name some with --systems, --vectors, --models or --scores")
    known = [name.partition("@")[0] for name in taken]
    foreign = next((rival for rival in options.rivals if rival not in known), None)
    if foreign is not None:
        raise UserError(f"rival {foreign!r} is none of the systems: {', '.join(dict.fromkeys(known))}")


def _check_ranges(options: Options) -> None:
    if options.part.startswith("unseen") and options.task != "board-completion":
        raise UserError(
            f"part {options.part} with task {options.task}: unseen owners have boards; allowed is board-completion"
        )
    least = {
        "show": 0, "tune_queries": 0, "cold_max": 0, "gap": 0, "sasrec_seconds": 0, "sasrec_epochs": 1, "sasrec_patience": 1,
    }  # fmt: skip
    low = next((name for name, limit in least.items() if getattr(options, name) < limit), None)
    if low is not None:
        raise UserError(f"{low} is {getattr(options, low)}; allowed are numbers from {least[low]}")
    grids = vars(options.grids)
    empty = next((name for name, values in grids.items() if not values), None)
    if empty is not None or not options.sasrec_seeds:
        raise UserError(f"{empty or 'sasrec_seeds'} is empty; give at least one value")
    above = {"ease_lambda": 0, "short": 0, "decay": 0, "graph_weight": 0, "model_last": 0, "sasrec_dim": 0}
    bad = next((name for name, limit in above.items() if min(grids[name]) <= limit), None)
    if bad is not None:
        raise UserError(f"grids.{bad} is {list(grids[bad])}; allowed are numbers above 0")
