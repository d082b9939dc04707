"""CSV, TSV and Parquet files as DuckDB reads them: a batch at a time, in file order, every CSV cell as text."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from navigator.contracts import UserError

_READERS = {
    ".csv": "read_csv({}, header = true, all_varchar = true)",
    ".tsv": "read_csv({}, header = true, all_varchar = true, delim = '\t')",
    ".parquet": "read_parquet({})",
}


def scan(path: Path) -> str:
    """The SQL table function that reads a file.

    Raises:
        UserError: no such file, or a format that is not read.
    """
    if not path.is_file():
        raise UserError(f"file {path} does not exist; give a {', '.join(_READERS)} file")
    name = path.name.lower().removesuffix(".gz")
    reader = _READERS.get(Path(name).suffix)
    if reader is None:
        raise UserError(f"{path} is of an unknown format; give a {', '.join(_READERS)} file")
    return reader.format("'" + str(path).replace("'", "''") + "'")


def file_schema(path: Path) -> pa.Schema:
    """Names and types of a file's columns."""
    return query_schema(f"SELECT * FROM {scan(path)}")


def query_schema(query: str) -> pa.Schema:
    """Names and types of a query's columns."""
    return next(batches(f"{query} LIMIT 0", empty=True)).schema


def count(query: str) -> int:
    """How many rows a query gives."""
    return next(batches(f"SELECT count(*) AS n FROM ({query})"))["n"][0].as_py()


def batches(query: str, empty: bool = False) -> Iterator[pa.RecordBatch]:
    """Arrow batches in file order; with `empty`, one batch without rows, for its schema.

    Raises:
        UserError: the file cannot be read as what it claims to be.
    """
    with duckdb.connect() as db:
        try:
            reader = db.sql(query).to_arrow_reader(4096)
            if empty:
                yield pa.RecordBatch.from_pylist([], reader.schema)
            yield from reader
        except (duckdb.Error, pa.ArrowInvalid) as error:
            raise UserError(f"cannot read the file: {' '.join(str(error).split())[:300]}") from error


def quoted(name: str) -> str:
    """A column name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'
