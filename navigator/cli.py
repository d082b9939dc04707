"""``navigator``: from a catalogue to recommendations, one command a step."""

import sys

from graph.commands import add_edges, build_graph, refine
from graph.forget import forget
from graph.stats import stats
from navigator import catalog_commands, encode_commands, model_commands
from navigator.cli_tools import Tree, run_commands
from navigator.demo import demo
from navigator.events.commands import compact_events, event_stats, forget_events, import_events
from navigator.recommend_command import recommend
from navigator.release import command as releases
from navigator.serve.command import serve
from navigator.serve.door.commands import check_audit, create_key, list_keys, revoke_key

COMMANDS: Tree = {
    "fetch": encode_commands.fetch,
    "import": {
        "openclipart": catalog_commands.import_openclipart,
        "movielens": catalog_commands.import_movielens,
        "table": catalog_commands.import_table,
        "hf": catalog_commands.import_hf,
        "events": import_events,
    },
    "events": {"compact": compact_events, "stats": event_stats, "forget": forget_events},
    "show": catalog_commands.show,
    "embed": encode_commands.embed,
    "cutover": encode_commands.cutover,
    "graph": {"build": build_graph, "add": add_edges, "stats": stats, "forget": forget},
    "refine": refine,
    "swap": model_commands.swap,
    "index": model_commands.index,
    "search": model_commands.search,
    "recommend": recommend,
    "serve": serve,
    "release": {
        "create": releases.create,
        "list": releases.list_releases,
        "promote": releases.promote,
        "rollback": releases.rollback,
    },
    "demo": demo,
    "keys": {"create": create_key, "list": list_keys, "revoke": revoke_key, "audit": check_audit},
}


def main(argv: list[str] | None = None) -> int:
    """Console script; returns the exit code."""
    return run_commands("navigator", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
