"""What is wrong with each row of an event log, in one SQL statement."""

from bench.product.command import COLUMNS
from bench.product.figures import COUNTS

KINDS = COUNTS[:4]
TOO_LATE = 1e11  # the year 5138 in seconds, 1973 in milliseconds


def judged(rows: str, cells: dict[str, str], damage: str = "NULL") -> str:
    """The statement that makes the table `event`: first what each row says, then what is wrong with it, then repeats.

    Args:
        rows: SQL of a table in file order.
        cells: our name of a column -> SQL of what the log has there.
        damage: SQL of why a row is no event at all, else null.
    """
    words = {n: f"nullif(trim(CAST({cells[n]} AS VARCHAR)), '')" for n in COLUMNS}
    at = f"coalesce(TRY_CAST({words['at']} AS DOUBLE), epoch(TRY_CAST({words['at']} AS TIMESTAMPTZ)))"
    said = ", ".join(f"{f'{at} AS seconds' if n == 'at' else f'{words[n]} AS {n}'}" for n in COLUMNS)
    kinds = ", ".join(f"'{kind}'" for kind in KINDS)
    return f"""
        CREATE TEMP TABLE event AS
        WITH said AS (SELECT row_number() OVER () AS row, {said}, {damage} AS damage FROM {rows}),
        judged AS (SELECT *, CASE
            WHEN damage IS NOT NULL THEN damage
            WHEN user_id IS NULL THEN 'no user_id' WHEN system IS NULL THEN 'no system'
            WHEN kind IS NULL OR kind NOT IN ({kinds})
            THEN 'kind is none of {kinds.replace("'", "")}: ' || coalesce(left(kind, 20), 'empty')
            WHEN seconds IS NULL OR isnan(seconds) THEN 'at is no time' WHEN seconds < 0 THEN 'at is before 1970'
            WHEN seconds >= {TOO_LATE} THEN 'at is not in seconds' END AS wrong FROM said)
        SELECT row, event_id, user_id, system, kind, item_id, seconds, coalesce(wrong, CASE
            WHEN event_id IS NOT NULL AND row_number() OVER (PARTITION BY event_id, wrong IS NULL ORDER BY row) > 1
            THEN 'event_id seen before' END) AS reason FROM judged"""
