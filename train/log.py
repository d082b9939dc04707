"""Where a run writes what it measured: metrics.jsonl in its folder, and a tracker when one was asked for."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from navigator.contracts import UserError
from train.config import LoopConfig


def check_tracker(name: str) -> None:
    """Refuse a tracker that would write nothing (accelerate only warns).

    Raises:
        UserError: unknown, or its package is not installed.
    """
    known = {str(kind.value) for kind in LoggerType} - {"all"}
    installed = {str(kind.value) for kind in get_available_trackers()} | (set(map(str, LOGGER_TYPE_TO_CLASS)) - known)
    if not name or name in installed:
        return
    if name in known:
        raise UserError(
            f"loop.tracker {name!r} is not installed; `pip install {name}`, or leave it out (metrics.jsonl)"
        )
    raise UserError(f"loop.tracker {name!r}; allowed are {', '.join(sorted(known | installed))}")


class Log:
    """One line a step and a validation, written by the main process alone."""

    def __init__(self, accelerator: Accelerator, work: Path, config: LoopConfig, step: int):
        self.accelerator, self.path, self.tracked = accelerator, work / "metrics.jsonl", bool(config.tracker)
        self._trim(step)
        if self.tracked:
            settings = {k: v for k, v in asdict(config).items() if isinstance(v, int | float | str)}
            accelerator.init_trackers("navigator", config=settings)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row with its "step"."""
        if not self.accelerator.is_main_process:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self.tracked:
            flat = {k: v for k, v in {**row, **row.get("valid", {})}.items() if isinstance(v, float)}
            self.accelerator.log(flat, step=row["step"])

    def close(self) -> None:
        """Let trackers write what they still hold."""
        for tracker in self.accelerator.trackers if self.tracked else ():
            tracker.finish()

    def _trim(self, step: int) -> None:
        """Drop the lines of steps that a resumed run is going to take again."""
        if self.accelerator.is_main_process and self.path.is_file():
            kept = [x for x in self.path.read_text().splitlines() if x and json.loads(x)["step"] <= step]
            self.path.write_text("".join(line + "\n" for line in kept) if step else "")
