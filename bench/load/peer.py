"""Do two generators that know nothing of each other see the same latencies? Ours against ab (Apache) and wrk.

`python -m bench.load.peer`: the stand-in server sleeps seeded times, so all generators meet the same sleeps from the first on;
as many clients each, closed loop, because that is all that ab and wrk do. Rounds alternate, the median round counts.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.device import describe_device
from bench.latency import percentiles
from bench.load.answers import Serving
from bench.load.client import Target, closed_loop
from bench.load.served import RANK
from bench.load.target import local, server
from navigator.cli_tools import run_function
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import commit, write_text

WITHIN = 0.05
ENOUGH = 100  # answers; of fewer ab says that the P99 is 0
OURS, PERCENTILES = "navigator-bench", ("p50", "p95", "p99")
_LUA = """wrk.method = "POST"
wrk.body = "{}"
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  local e = summary.errors
  local bad = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("RESULT %f %f %f %d %d\\n",
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000, summary.requests, bad))
end
"""

Times = dict[str, float]


def peer(
    clients: int = 8, workers: int = 8, work_ms: float = 100.0, spread: float = 0.2, seconds: float = 15.0, rounds: int = 3,
    out: Path | None = None, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Measure one server with our generator and with those of ab and wrk that are installed; differences of percentiles.

    Args:
        clients: of each generator, closed loop.
        workers: of the server; fewer than clients makes them queue.
        work_ms: mean sleep of the server.
        spread: its coefficient of variation.
        seconds: of each measurement.
        rounds: measurements of each generator, alternating.
        out: JSON file to write.
        seed: of the sleeps.

    Returns:
        Percentiles in ms by generator and round, the largest difference of medians, and whether it is within 5 %.

    Raises:
        UserError: neither ab nor wrk is installed, one of them fails, or there were too few answers.
    """
    tools: dict[str, Callable[[Target, int, float], Times]] = {OURS: _ours}
    tools |= {name: run for name, run in (("ab", _ab), ("wrk", _wrk)) if shutil.which(name)}
    if len(tools) == 1:
        raise UserError("neither ab nor wrk is installed; on Debian or Ubuntu: apt install apache2-utils wrk")
    served = Serving("sleep", "", "", work_ms, spread, workers, clients, 1, "cpu", "auto", seed)
    found: dict[str, list[Times]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, run in tools.items():
            with server(served) as port:  # one of its own: the same sleeps from the first on
                times = run(Target(local(port, RANK), [b"{}"], 60.0, True), clients, seconds)
            if times["requests"] < ENOUGH:
                raise UserError(
                    f"{name} got {times['requests']:.0f} answers in {seconds:g} s, too few for a P99; give more --seconds"
                )
            found[name].append(times)
    asked = {
        "clients": clients,
        "workers": workers,
        "work_ms": work_ms,
        "spread": spread,
        "seconds": seconds,
        "seed": seed,
    }
    result = {"machine": describe_device().model_dump(), "commit": commit(), **asked, **_compare(found)}
    if out is not None:
        write_text(out, json.dumps(result, indent=1))
    return result | {"text": _table(result), "exit_code": 0 if result["met"] else 1}


def _compare(found: dict[str, list[Times]]) -> dict[str, Any]:
    """Medians over rounds, ours against each other's, and the largest difference."""
    medians = {name: {p: median(times[p] for times in rows) for p in rows[0]} for name, rows in found.items()}
    differences = {
        name: {p: medians[OURS][p] / own[p] - 1 for p in PERCENTILES} for name, own in medians.items() if name != OURS
    }
    worst = max(abs(d) for own in differences.values() for d in own.values())
    return {
        "medians": medians, "ours_against": differences, "worst": worst, "within": WITHIN, "met": worst <= WITHIN,
        "rounds": found,
    }  # fmt: skip


def _ours(target: Target, clients: int, seconds: float) -> Times:
    rows = closed_loop(target, "peer", clients, seconds, "navigator-bench").rows
    times = percentiles([row.response_ms for row in rows if row.outcome == "ok"])
    if times is None:
        raise UserError("the server answered nothing")
    return {"p50": times.p50, "p95": times.p95, "p99": times.p99, "requests": len(rows)}


def _ab(target: Target, clients: int, seconds: float) -> Times:
    """Percentiles of ab's CSV, which has fractions of a millisecond."""
    with tempfile.TemporaryDirectory() as folder:
        body, table = Path(folder) / "body.json", Path(folder) / "percentiles.csv"
        body.write_text("{}")
        said = _run([
            "ab", "-q", "-k", "-t", f"{seconds:g}", "-n", "1000000", "-c", str(clients), "-p", str(body),
            "-T", "application/json", "-e", str(table), target.url,
        ])  # fmt: skip
        rows = dict(line.split(",") for line in table.read_text().splitlines()[1:])
    counted = {line.split(":")[0]: line.split(":")[1].split()[0] for line in said.splitlines() if ":" in line[:-1]}
    if int(counted["Failed requests"]) or "Non-2xx responses" in counted:
        raise UserError(f"ab had failures: {said}")
    return {p: float(rows[p[1:]]) for p in PERCENTILES} | {"requests": int(counted["Complete requests"])}


def _wrk(target: Target, clients: int, seconds: float) -> Times:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(_LUA)
        said = _run(
            ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "60s", "-s", str(script), target.url]
        )
    line = next((line for line in said.splitlines() if line.startswith("RESULT ")), None)
    told = [float(word) for word in line.split()[1:]] if line else []
    if not told or told[4]:
        raise UserError(f"wrk had failures: {said}")
    return dict(zip((*PERCENTILES, "requests"), told[:4], strict=True))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'':18}{'P50 ms':>9}{'P95 ms':>9}{'P99 ms':>9}{'requests':>10}{'ours differs by':>26}"]
    for name, own in result["medians"].items():
        differs = result["ours_against"].get(name, {})
        lines.append(
            f"{name:18}{own['p50']:>9.1f}{own['p95']:>9.1f}{own['p99']:>9.1f}{own['requests']:>10.0f}"
            + "".join(f"{d:>+9.1%}" for d in differs.values())
        )
    verdict = "within" if result["met"] else "NOT within"
    return "\n".join([*lines, f"worst {result['worst']:.1%}: {verdict} {WITHIN:.0%}"])


if __name__ == "__main__":
    sys.exit(run_function("python -m bench.load.peer", peer, sys.argv[1:]))
