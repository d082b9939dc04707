"""One measurement by wrk (https://github.com/wg/wrk): a closed loop of keep-alive clients; a Lua script reads the bodies."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from navigator.contracts.errors import UserError

# One thread, so that all clients draw from one list; `done` says everything as one line of JSON. Latencies are microseconds.
SCRIPT = """
local bodies, place = {}, 0
function init(args)
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  place = tonumber(args[2])
end
function request()
  place = place + 1
  return wrk.format("POST", nil, nil, bodies[(place - 1) % #bodies + 1])
end
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests":%d,"micros":%d,"p50":%d,"p95":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


@dataclass(frozen=True)
class Measured:
    """What wrk saw: answers with a status below 400, milliseconds of all answers (None of none), and what failed."""

    answers: int
    seconds: float
    p50: float | None
    p95: float | None
    p99: float | None
    refused: int
    lost: int

    @property
    def throughput_rps(self) -> float:
        return self.answers / self.seconds


def find_wrk(program: str) -> str:
    """Path of the program; UserError where it is not installed."""
    found = shutil.which(program)
    if found is None:
        raise UserError(f"{program!r} is not installed; `apt install wrk`, or give --wrk PATH")
    return found


def write_script(path: Path, headers: dict[str, str]) -> None:
    """The Lua script; headers stand in it, and not on wrk's command line, where everybody could read a key."""
    lines = [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
        for name, value in ({"Content-Type": "application/json"} | headers).items()
    ]
    path.write_text("\n".join(lines) + SCRIPT)


def load(
    program: str, script: Path, url: str, bodies: Path, begin: int, clients: int, seconds: float, timeout_s: float
) -> Measured:
    """Send for so many whole seconds, from body `begin` on.

    Raises:
        UserError: wrk failed.
    """
    command = [
        program, "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", f"{max(1, round(timeout_s))}s",
        "-s", str(script), url, "--", str(bodies), str(begin),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in ran.stdout.splitlines() if line.startswith("RESULT ")), None)
    if ran.returncode or line is None:
        said = (ran.stderr or ran.stdout).strip().splitlines()
        raise UserError(f"wrk failed on {url}: {said[-1] if said else 'it said nothing'}")
    return parse(line)


def parse(line: str) -> Measured:
    """The line that SCRIPT prints."""
    told = json.loads(line.removeprefix("RESULT "))
    p50, p95, p99 = (told[name] / 1000 if told["requests"] else None for name in ("p50", "p95", "p99"))
    lost = sum(told[name] for name in ("connect", "read", "write", "timeout"))
    return Measured(told["requests"] - told["status"], told["micros"] / 1e6, p50, p95, p99, told["status"], lost)
