"""Two processes of one program, as `accelerate launch` or torchrun would start them on two devices, over gloo.

The second is forked from the first when that has imported everything: starting Python twice takes longer than the training.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = """
import importlib.util, os, sys
from pathlib import Path
sys.path[:0] = {path!r}
spec = importlib.util.spec_from_file_location("two_processes", {file!r})
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
second = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if second else "1"
module.{function}(*map(Path, sys.argv[1:]))
if second and os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]):
    sys.exit("the second process failed")
"""


def in_two_processes(file: str, function: str, *arguments: Path, environment: dict[str, str] | None = None) -> None:
    """Call `function` of the module `file` with `arguments` in two processes that find each other; both must succeed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    script = SCRIPT.format(path=[str(ROOT), str(ROOT / "tests")], file=file, function=function)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], env=os.environ | group | (environment or {}),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
