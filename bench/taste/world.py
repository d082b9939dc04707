"""What is asked, what may be learned from, and which queries belong to which slice; nothing is scored here.

A fold is a set of saves to learn from and queries to answer. Settings are chosen on the tuning fold, which is made of
sequences whose test saves are cut away first: no tuning can read them. The final fold is looked at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.evaluate import choose_queries
from bench.taste.options import Options
from bench.taste.slices import board_owners, owner_slices, resampling_unit, save_gaps
from navigator.contracts import Catalog, UserError
from navigator.contracts.signals import Part, Query, TasteSequence, make_queries, unseen_queries


@dataclass(frozen=True, eq=False)
class Fold:
    """One half of a fair comparison: what systems are fitted on and what they are then asked.

    Attributes:
        rows: saves of every owner of the task, oldest first.
        ordered: whether the order of a row means anything (users; not boards).
        warm: (n_items,) bool, items with a training save (of any task, without validation), as training itself sees it.
    """

    rows: list[tuple[int, ...]]
    queries: list[Query]
    n_items: int
    ordered: bool
    warm: np.ndarray


@dataclass(frozen=True, eq=False)
class World:
    """The opened inputs.

    Attributes:
        graph: fingerprint of the taste graph, `built` its options.
        known: sequences of the task without their test saves.
        final: what the figures are of.
        unasked: owners of the part that could not ask (unseen boards with nothing left, or nothing to ask with).
        resampled: what intervals draw: owners of boards, boards or queries.
        clusters: (q,) who owns each board, where owners are drawn; None where every query stands alone.
        slices: name -> (q,) bool.
    """

    catalog: Catalog
    graph: str
    built: dict
    options: Options
    known: list[TasteSequence]
    unseen: list[TasteSequence]
    final: Fold
    unasked: int
    resampled: str
    clusters: np.ndarray | None
    slices: dict[str, np.ndarray]

    @cached_property
    def tuning(self) -> Fold:
        """The fold that settings are chosen on; at most `tune_queries` of its queries.

        Raises:
            UserError: the graph holds nothing out for validation.
        """
        options = self.options
        try:
            queries, _ = asked(self.known, self.unseen, options, "valid")
        except UserError as error:
            raise UserError(
                f"{error}; settings are chosen on validation: build the graph with --valid_fraction 1.0 (and "
                "--unseen_valid for unseen boards), or give one value for every grid"
            ) from error
        chosen = choose_queries(len(queries), options.tune_queries or None, options.seed)
        rows = [s.items for s in self.known]
        return replace(self.final, rows=rows, queries=[queries[i] for i in chosen])


def open_world(options: Options) -> World:
    """Open catalogue and graph, and make the queries.

    Raises:
        UserError: a missing or foreign graph, an empty part.
    """
    from graph.store import TasteGraph

    catalog = Catalog.open(options.catalog)
    taste_graph = TasteGraph.open(options.graph, catalog, purpose="bench")
    sequences = [s for s in taste_graph.sequences if s.task == options.task]
    unseen = taste_graph.unseen if options.part.startswith("unseen") else []
    built, part = taste_graph.manifest.config, final_part(options)
    queries, unasked = asked(sequences, unseen, options, part)
    known = [replace(s, test=()) for s in sequences]
    refit = options.refit and part == "test"
    rows = [s.items + s.valid if refit else s.items for s in known]
    warm = np.zeros(len(catalog.item_ids), bool)
    warm[[item for s in taste_graph.sequences for item in s.items]] = True
    final = Fold(rows, queries, len(warm), options.task == "next-item", warm)
    counts = np.bincount([i for s in known for i in s.items + s.valid], minlength=final.n_items)
    slices = {"all": np.ones(len(queries), bool)}
    slices["cold"] = np.array([counts[list(q.targets)].max() <= options.cold_max for q in queries])
    slices["new"] = np.array([q.among_new(warm) for q in queries])
    if options.task == "next-item":
        gaps = save_gaps(catalog, [*(built.get("actions") or []), *(built.get("test_actions") or [])], queries)
        slices["gap"] = gaps > options.gap  # nan (no times) is in no slice
    owners = None if options.task == "next-item" else board_owners(catalog, queries)
    return World(
        catalog, taste_graph.fingerprint, built, options, known, [replace(s, test=()) for s in unseen if s.valid], final,
        unasked, *resampling_unit(owners), slices | owner_slices(owners),
    )  # fmt: skip


def final_part(options: Options) -> Part:
    """test or valid, of seen and unseen owners alike."""
    return "test" if options.part.endswith("test") else "valid"


def asked(
    sequences: Sequence[TasteSequence], unseen: Sequence[TasteSequence], options: Options, part: Part
) -> tuple[list[Query], int]:
    """The queries of a part, and how many owners of it could not ask."""
    if options.part.startswith("unseen"):
        queries = unseen_queries(unseen, part, options.show, options.seed)
        unasked = sum(bool(s.test if part == "test" else s.valid) for s in unseen) - len(queries)
    else:
        queries, unasked = make_queries(sequences, options.task, part), 0
    return queries if options.titles else [replace(q, title="") for q in queries], unasked
