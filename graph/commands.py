"""Command `navigator graph build`: catalogue -> taste graph; and, by name, the commands made of it."""

import time
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from tqdm import tqdm

from graph.add import add_edges
from graph.assemble import Limits, assemble
from graph.audit import audited
from graph.forgotten import Theirs, forgotten_path, forgotten_rows, read_forgotten
from graph.make_signals import write_signals
from graph.policy import DAY, Purpose, load_policy
from graph.refine import refine
from graph.user_split import UserSplit
from navigator.contracts import Catalog, UserError, is_current, publish, read_manifest

__all__ = ["add_edges", "build_graph", "refine"]


def build_graph(
    catalog: Path, out: Path, seed: int = 0, min_board: int = 4, valid_fraction: float = 0.2,
    user_split: UserSplit = "leave-last-out", last: int = 1, global_quantile: float = 0.9,
    interests: Literal["boards", "keywords"] = "boards", actions: list[str] | None = None,
    test_actions: list[str] | None = None, impressions: list[str] | None = None, prune: bool = True, co_saves: int = 0,
    signals: bool = True, walks: int = 1000, length: int = 20, restart: float = 0.3, unseen_owners: float = 0.0,
    unseen_valid: float = 0.0, policy: Path | None = None, forgotten: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Build the taste graph of a catalogue: split first, then edges, walks and training signals from the rest.

    Args:
        catalog: catalogue folder.
        out: folder of the taste graph.
        seed: of the split, the pruning and the walks.
        min_board: smallest board (distinct items) that holds out a test item; two more for a validation item.
        valid_fraction: share of the boards and of the users that also hold out a validation item.
        user_split: hold out each user's last items, everything after one moment in time, or the saves of test_actions.
        last: how many last items of each user are the test, and how many before them the validation items of the users
            that have these (leave-last-out only); a user with no more than these holds out nothing.
        global_quantile: that moment, as a quantile of the interactions' times (global-time only).
        interests: link items to the titles of their boards, or to their own keywords; keywords leak held-out saves
            where boards are made of keywords, as in openclipart.
        actions: which actions of interactions.parquet count as saves; all by default, without test_actions and
            impressions: the answer's actions_counted says which and how many, so that views taken for saves are seen.
        test_actions: actions whose interactions are the test saves (user_split given).
        impressions: actions that only show an item; what a user was shown and did not save becomes a signal.
        prune: thin popular items (graph.csr); without it every training save is an edge.
        co_saves: positions within an owner's training sequence that make two items co-saved; 0 leaves the relation out.
        signals: write signals.parquet.
        walks: random walks from each item; 0 leaves out the signals that are made of walks.
        length: most steps of a walk.
        restart: probability of going back to the item after each step.
        unseen_owners: share of the board owners, fixed by their ids, whose boards are kept from training altogether
            and written as test requests; a user's interactions are not touched. A catalogue whose boards have a column
            part says by itself which boards are unseen, those of part valid and test (the answer's boards_by_part
            counts them): then this and unseen_valid have to stay 0.
        unseen_valid: a further share of the owners, as validation requests.
        policy: YAML file of purposes, or a graph folder that carries one; Navigator's own by default.
        forgotten: list of people who are left out (see `navigator graph forget`); OUT.forgotten.txt by default.

    Returns:
        Counts of nodes, edges, refused rows, held-out saves and signals.

    Raises:
        UserError: no saves, unknown times under global-time, an option out of range, a purpose that may not.
    """
    opened = Catalog.open(catalog)
    config = {
        "seed": seed, "min_board": min_board, "valid_fraction": valid_fraction, "user_split": user_split,
        "last": last, "global_quantile": global_quantile, "interests": interests, "actions": actions,
        "test_actions": test_actions, "impressions": impressions, "prune": prune, "co_saves": co_saves,
        "signals": signals, "walks": walks, "length": length, "restart": restart, "unseen_owners": unseen_owners,
        "unseen_valid": unseen_valid,
    }  # fmt: skip
    with audited(out, "graph build", "build", config) as entry:
        rules_of = load_policy(policy)
        entry.policy = rules_of.fingerprint
        left_out = read_forgotten(forgotten_path(out) if forgotten is None else forgotten)
        inputs = {"catalog": opened.fingerprint, "policy": rules_of.fingerprint}
        inputs |= {"forgotten": left_out.fingerprint} if left_out.hashes else {}
        entry.artefacts = dict(inputs)
        if is_current(out, "graph", config, inputs):
            manifest = read_manifest(out, "graph", "")
            entry.artefacts["graph"] = manifest.fingerprint
            return {"out": str(out), "unchanged": True, **manifest.metrics}
        _check_options(config)
        rules = rules_of.purpose("build")
        _check_purpose(opened, rules, config)
        rows_left_out = _left_out(opened, rules)
        with publish(out, "graph", config, inputs, seed) as work, tqdm(total=2, desc="taste graph", unit="step") as bar:
            theirs = forgotten_rows(opened.path, left_out)
            work.metrics = assemble(work.path, opened, config, _limits(rules, theirs))
            work.metrics |= {"forgotten": theirs.rows, "left_out_by_policy": rows_left_out}
            bar.update()
            if signals:
                work.metrics |= write_signals(work.path, opened, config, work.metrics, bar)
            rules_of.write(work.path)
            bar.update()
        entry.artefacts["graph"] = read_manifest(out, "graph", "").fingerprint
    return {"out": str(out), "unchanged": False, **work.metrics}


def _check_options(config: dict[str, Any]) -> None:
    """Raises UserError: an option out of range, or two that do not go together."""
    walks, length, restart = (config[name] for name in ("walks", "length", "restart"))
    if walks < 0 or length < 1 or not 0 < restart < 1:
        raise UserError(
            f"walks {walks}, length {length}, restart {restart}: allowed are >= 0, >= 1 and between 0 and 1"
        )
    if config["co_saves"] < 0:
        raise UserError(f"co_saves {config['co_saves']}: allowed are whole numbers from 0, such as 5")
    if (config["user_split"] == "given") != bool(config["test_actions"]):
        raise UserError(
            f"user_split {config['user_split']} with test_actions {config['test_actions'] or 'none'}: give --test_actions "
            "ACTION together with --user_split given, or neither"
        )
    roles = ("actions", "test_actions", "impressions")
    named = [action for role in roles for action in config[role] or []]
    twice = next((action for action in named if named.count(action) > 1), None)
    if twice is not None:
        raise UserError(f"action {twice!r} is named twice among actions, test_actions and impressions; it can be one")


def _limits(rules: Purpose, theirs: Theirs) -> Limits:
    """What the policy and the list of forgotten people leave out of a build."""
    oldest = None if rules.retention_days is None else int(time.time()) - rules.retention_days * DAY
    return Limits(theirs.stay if theirs.users else lambda table: "true", oldest, "follows" in rules.edge_types)


def _check_purpose(catalog: Catalog, rules: Purpose, config: dict[str, Any]) -> None:
    """Raises UserError: the purpose may not see a relation that is built, or read a field that the catalogue has.

    The split, the pruning and the signals go by times, weights and titles of boards: there is no honest graph without.
    """
    rules.check_types(["holds", "saved", "has", "about", *(["co_saved"] if config["co_saves"] else [])])
    if config["interests"] == "boards":
        rules.check_field("titles")
    columns = {
        "time": (("board_items", "saved_at"), ("interactions", "at"), ("follows", "at")),
        "weight": (("board_items", "weight"), ("interactions", "weight"), ("follows", "weight")),
        "titles": (("boards", "title"),),
    }
    for name, places in columns.items():
        if name not in rules.fields and any(_has_values(catalog.path / f"{t}.parquet", column) for t, column in places):
            rules.check_field(name)


def _has_values(path: Path, column: str) -> bool:
    """Whether a table is there and any row of the column is neither null nor empty."""
    if not path.is_file() or column not in pq.read_schema(path).names:
        return False
    with pq.ParquetFile(path) as file:
        return any(
            value not in (None, "")
            for batch in file.iter_batches(columns=[column])
            for value in batch[0].unique().to_pylist()
        )


def _left_out(catalog: Catalog, rules: Purpose) -> dict[str, int]:
    """Rows of relations that a graph can do without and that the purpose may not read, by relation."""
    path = catalog.path / "follows.parquet"
    if "follows" in rules.edge_types or not path.is_file():
        return {}
    return {"follows": pq.read_metadata(path).num_rows}
