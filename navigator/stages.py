"""Stages of a long job: ordinary commands, shown as they run, and run again only when something they read changed."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from navigator.contracts import UserError
from navigator.contracts.manifest import MANIFEST, digest, file_digest, write_text


@dataclass(frozen=True)
class Stage:
    """One command of the main job.

    Attributes:
        name: shown, and names the stage's record.
        command: words after `python -m`, the module first.
        inputs: artefacts and files whose change makes the stage stale.
        out: the artefact or file it makes.
    """

    name: str
    command: list[str]
    out: Path
    inputs: list[Path] = field(default_factory=list)

    @property
    def shown(self) -> str:
        words = list(self.command)
        if words[0] == "accelerate.commands.launch":
            return "accelerate launch " + " ".join(words[words.index("-m") :])
        return " ".join([{"navigator.cli": "navigator", "bench.cli": "navigator-bench"}[words[0]], *words[1:]])


def run_stage(stage: Stage, home: Path) -> bool:
    """Run a stage unless it is current; returns whether it ran. Raises UserError when the command fails."""
    record = home / ".stages" / f"{stage.name}.json"
    key = digest([stage.command, [_state(path) for path in stage.inputs]])
    done = json.loads(record.read_text()) if record.is_file() else {}
    if done.get("key") == key and done.get("out") == _state(stage.out):
        print(f"[{stage.name}] unchanged, not run again ({stage.out})", file=sys.stderr)
        return False
    print(f"[{stage.name}] {stage.shown}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    environment = {  # threads that wait should not burn the cores that others need
        "OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", *stage.command], stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )
    if result.returncode:
        raise UserError(
            f"stage {stage.name} failed with exit code {result.returncode}; see above, mend it and run the demo again"
        )
    if _state(stage.out) is None:
        raise UserError(f"stage {stage.name} ended without making {stage.out}; run `{stage.shown}` by hand to see why")
    for line in result.stdout.splitlines()[:30]:
        print(f"    {line}", file=sys.stderr)
    print(f"[{stage.name}] {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    key = digest([stage.command, [_state(path) for path in stage.inputs]])
    write_text(
        record, json.dumps({"key": key, "out": _state(stage.out), "command": stage.shown, "answer": result.stdout})
    )
    return True


def _state(path: Path) -> str | None:
    """Fingerprint of an artefact or file, None when it is not there."""
    if (path / MANIFEST).is_file():
        return json.loads((path / MANIFEST).read_text())["fingerprint"]
    return file_digest(path) if path.is_file() else None
