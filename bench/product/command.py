"""The command `navigator-bench product`: what people did with each version of the system, from a log of events."""

from pathlib import Path
from typing import Any

from bench.product.options import Options
from navigator.contracts.errors import UserError

COLUMNS = ("event_id", "user_id", "system", "kind", "item_id", "at")
NEEDED = ("user_id", "system", "kind", "at")


def product(
    events: Path,
    out: Path = Path("runs/product-report"),
    columns: dict[str, str] | None = None,
    baseline: str | None = None,
    split: dict[str, float] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Saves and clicks per impression, and saves, clicks and new boards per user and day, by version of the system.

    Args:
        events: event store folder, or a log (Parquet, CSV or TSV): user_id, system, kind (impression, click, save or
            board_created), at (seconds since 1970, a timestamp or ISO text), and where known event_id (repeats are then
            refused) and item_id.
        out: report folder to write.
        columns: ours=theirs, where the log calls its columns otherwise, such as user_id=uid,at=ts.
        baseline: the version that all others are compared with; by default the one whose events begin first.
        split: share of the users that each version was meant to get, such as old=0.5,new=0.5; equal by default.
        seed: of resampling.

    Returns:
        Where the report is, figures by version, refused rows by reason, the sample-ratio check, and the same as text. Exit
        code 1 when the users are not split as they were meant to be: then no difference can be trusted.

    Raises:
        UserError: no such file, a missing column, a version that is not in the log, no usable row.
    """
    renamed = columns or {}
    unknown = next((name for name in renamed if name not in COLUMNS), None)
    if unknown is not None:
        raise UserError(f"columns {unknown}={renamed[unknown]}: allowed names are {', '.join(COLUMNS)}, as ours=theirs")
    shares = {name: float(share) for name, share in (split or {}).items()}
    if shares and (min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6):
        raise UserError(
            f"split {', '.join(f'{n}={s:g}' for n, s in shares.items())}: shares above 0 that add up to 1 are needed"
        )
    from bench.product.run import measure_product

    return measure_product(Options(events, out, renamed, baseline, shares, seed))
