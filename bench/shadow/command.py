"""The command `navigator-bench shadow`: may the new encoder or model take the old one's place?"""

from pathlib import Path
from typing import Any

from bench.shadow.options import Options
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Part, Task


def shadow(
    old: str,
    new: str,
    catalog: Path,
    log: Path | None = None,
    graph: Path | None = None,
    out: Path = Path("runs/shadow-report"),
    thresholds: Path = Path("configs/shadow/default.yaml"),
    task: Task = "next-item",
    part: Part = "test",
    requests: int = 0,
    k: int = 50,
    last: int = 20,
    old_encoder: str | None = None,
    new_encoder: str | None = None,
    timeout_ms: float | None = None,
    cold_max: int = 2,
    short: int = 5,
    long: int = 20,
    rows: int = 8,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """The same requests to an old and a new encoder or model; exit code 0 if the new one may take over, 1 if not.

    Args:
        old: what answers today: a folder of item vectors, or MODELFOLDER:VECTORSFOLDER.
        new: what shall take over, alike.
        catalog: catalogue folder.
        log: requests, a .jsonl or .parquet file with the fields request_id, history (item ids, oldest first), text, k,
            targets (item ids, what was saved next) and user, all optional; or a .txt file, one text query a line.
        graph: taste graph folder. Without a log its held-out saves ask; with one it only says which items are cold.
        out: report folder to write.
        thresholds: YAML file of rules, each a measured value with at_least or at_most, a reason, and perhaps optional: true.
            An unknown name is answered with all that can be measured.
        task: with the graph's saves: next-item (users) or board-completion (boards).
        part: of the split of the graph's saves: test or valid.
        requests: at most that many, a seeded choice; 0 takes all.
        k: answers to a request that does not say how many.
        last: latest items of a history that a vector store is asked with; a model reads as many as it was trained on.
        old_encoder: the encoder of the old vectors (as for `navigator search`), to read texts and titles with; without it
            a vector store reads histories alone.
        new_encoder: of the new ones.
        timeout_ms: answers that take longer are failures; default no limit.
        cold_max: a request is cold when none of its targets has more saves than this.
        short: items in the longest history of the slice "short".
        long: items in the shortest history of the slice "long".
        rows: requests on the sheet of those that changed most.
        device: "auto", "cpu", "cuda" or "cuda:N", for models.
        seed: of resampling and of the chosen requests.

    Returns:
        Where the report is, the verdict, what stopped it, every measured value, the tables as text; exit_code is 1 when
        the verdict is fail.

    Raises:
        UserError: a missing or foreign input, unreadable traffic or thresholds, an option out of range.
    """
    options = Options(
        old, new, catalog, log, graph, out, thresholds, task, part, requests, k, last, old_encoder, new_encoder, timeout_ms,
        cold_max, short, long, rows, device, seed,
    )  # fmt: skip
    _check_ranges(options)
    from bench.shadow.run import compare_shadow

    return compare_shadow(options)


def _check_ranges(options: Options) -> None:
    least = {"requests": 0, "k": 1, "last": 1, "cold_max": 0, "short": 1, "long": 1, "rows": 0}
    low = next((name for name, limit in least.items() if getattr(options, name) < limit), None)
    if low is not None:
        raise UserError(f"{low} is {getattr(options, low)}; allowed are whole numbers from {least[low]}")
    if options.timeout_ms is not None and not options.timeout_ms > 0:
        raise UserError(f"timeout_ms is {options.timeout_ms}; allowed are numbers above 0, or nothing for no limit")
