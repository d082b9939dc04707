"""How a report's figures came about: the fields that every report of the bench shares, filled in one place."""

import datetime
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bench.device import describe_device
from navigator.contracts.manifest import commit, versions
from navigator.contracts.report import Provenance


def came_about(
    seed: int, command: str, config: Mapping[str, Any], inputs: Mapping[str, str], protocol: Sequence[str],
    dtype: str | None = None, cuda: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The fields of `Provenance`, to be passed on to a report that adds its figures; machine, commit, versions and time are
    those of now.

    Args:
        seed: of everything drawn.
        command: the command line that repeats the run.
        config: its options.
        inputs: fingerprints of what it read.
        protocol: how the figures came about, in sentences.
        dtype: what models computed in.
        cuda: whether on CUDA.
    """
    made = Provenance(
        seed=seed, device=describe_device(dtype, cuda), commit=commit(), versions=versions(),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), command=command,
        config=dict(config), inputs=dict(inputs), protocol=list(protocol),
    )  # fmt: skip
    return dict(made)


def command_words(command: Sequence[str], options: Mapping[str, Any]) -> str:
    """A command line: `command`, then the options that are given (not None, "" or {}); lists by commas, dicts as name=value."""
    words = list(command)
    for name, value in options.items():
        if value is not None and value != "" and value != {}:
            words += [f"--{name}", _word(value)]
    return shlex.join(words)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={own}" for name, own in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(_word, value)) or "[]"
    return str(value)
