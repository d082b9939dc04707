"""From typed functions to a command line: help from docstrings, answers on stdout, everything else on stderr.

A command is a plain function that returns a JSON-able dict. ``--json`` prints that dict as one JSON document; otherwise its
"text" entry is printed if it has one, else its entries as lines; an "exit_code" entry (a check that failed, work that is
left) becomes the exit code. Bad input (UserError, a wrong option, an unknown config
key) is one line ``error: ...`` on stderr and exit code 2.
"""

import inspect
import json
import sys
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from navigator.contracts.errors import UserError

Commands = dict[str, Callable[..., dict[str, Any]]]
Tree = dict[str, Callable[..., dict[str, Any]] | Commands]


class OneLineParser(ArgumentParser):
    """A parser whose errors are one line and name the valid keys."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        line = " ".join(str(message).split())
        if any(sign in line for sign in ("not expected", "not accept", "nrecognized arguments")):
            keys = [a.dest for a in self._actions if a.dest not in ("help", "print_config", "print_shtab")]
            line += f"; valid keys: {', '.join(keys)}"
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2)


def command_parser(prog: str, function: Callable[..., Any]) -> OneLineParser:
    """The parser of one command: its options are the function's parameters."""
    parser = OneLineParser(prog=prog, description=(function.__doc__ or "").split("\n\n")[0])
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON document")
    parser.add_function_arguments(function, as_group=False, as_positional=False)
    return parser


def plain_words(function: Callable[..., Any], argv: list[str]) -> list[str]:
    """What people type, as jsonargparse wants it.

    Leading bare words fill the parameters in order (``navigator show CATALOG``), all of them the first one if that is a
    list (``navigator-bench page REPORT REPORT``), a bare ``--flag`` of a boolean means
    true, ``--items a,b`` is a list and ``--columns item_id=sku,title=name`` a mapping.
    """
    parameters = inspect.signature(function).parameters
    names = list(parameters)
    bare = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    if names and _holds(parameters[names[0]].annotation, list):
        argv, bare = [",".join(argv[:bare]), *argv[bare:]] if bare else argv, min(bare, 1)
    words = [part for name, word in zip(names, argv[:bare], strict=False) for part in (f"--{name}", word)]
    words += argv[len(names) : bare] + argv[bare:]
    result: list[str] = []
    for i, word in enumerate(words):
        name = word.removeprefix("--").replace("-", "_") if word.startswith("--") else ""
        if result and result[-1].startswith("--") and not word.startswith("--"):
            result.append(_value(parameters.get(result[-1][2:]), word))
        elif name in parameters:
            result.append(f"--{name}")
            last = i + 1 == len(words) or words[i + 1].startswith("--")
            if last and _holds(parameters[name].annotation, bool):
                result.append("true")
        else:
            result.append(word)
    return result


def _holds(annotation: Any, kind: type) -> bool:
    """Whether `annotation` is `kind`, kind[...] or an optional one."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_holds(inner, kind) for inner in get_args(annotation))
    return annotation is kind or get_origin(annotation) is kind


def _value(parameter: inspect.Parameter | None, word: str) -> str:
    annotation = parameter.annotation if parameter is not None else str
    if _holds(annotation, list) and not word.startswith("["):
        return json.dumps(word.split(","))
    if _holds(annotation, dict) and not word.startswith("{") and "=" in word:
        return json.dumps(dict(part.split("=", 1) for part in word.split(",")))
    return word


def run_function(prog: str, function: Callable[..., dict[str, Any]], argv: list[str]) -> int:
    """Parse `argv` for `function`, call it, print its answer; returns the exit code."""
    try:
        parser = command_parser(prog, function)
        parsed = parser.parse_args(plain_words(function, argv))
        built = parser.instantiate(parsed)  # option groups become their dataclasses
        answer = function(**{name: built[name] for name in inspect.signature(function).parameters})
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    print(json.dumps(answer, default=str) if parsed.json else _as_text(answer))
    return int(answer.get("exit_code", 0))


def run_commands(prog: str, commands: Tree, argv: list[str] | None = None) -> int:
    """Dispatch ``prog COMMAND [SUBCOMMAND] ...``; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview(prog, commands))
        return 0
    entry = commands.get(arguments[0])
    if entry is None:
        print(f"error: {prog} has no command {arguments[0]!r}; commands: {', '.join(commands)}", file=sys.stderr)
        return 2
    name = f"{prog} {arguments[0]}"
    if isinstance(entry, dict):
        return run_commands(name, dict(entry), arguments[1:])
    return run_function(name, entry, arguments[1:])


def _overview(prog: str, commands: Tree) -> str:
    lines = [f"usage: {prog} COMMAND ...   ({prog} COMMAND --help explains one)", ""]
    for name, entry in commands.items():
        what = " | ".join(entry) if isinstance(entry, dict) else (entry.__doc__ or "").strip().split("\n")[0]
        lines.append(f"  {name:12} {what}")
    return "\n".join(lines)


def _as_text(answer: dict[str, Any]) -> str:
    if "text" in answer:
        return str(answer["text"])
    return "\n".join(f"{key}: {_short(value)}" for key, value in answer.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
