"""Where ids still occur in an artefact: every string of every Parquet file, and of the JSON and text beside them.

The proof of `navigator graph forget`. Columns of numbers, .npy and .safetensors files hold node numbers and vectors,
which name nobody. Ids of different kinds may be spelled alike (MovieLens has a user "1" and a film "1"), so a column
that by its name holds items or titles is not counted; every other column is, also one that is not known here.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from navigator.contracts import UserError

NUMBERS, WORDS = (".npy", ".safetensors"), (".json", ".jsonl", ".yaml", ".txt")
OF_ITEMS = frozenset(
    {"item_id", "item_a", "item_b", "items", "valid", "test", "target", "negatives", "signal", "title"}
)
OF_NODES = frozenset({"nodes_item.parquet", "nodes_interest.parquet"})
SOURCES, TARGETS = ("holds", "saved", "about", "follows"), ("follows",)  # relations whose ends are people or boards
_ROWS = 65_536


def traces(folder: Path, ids: Collection[str], items: bool = True) -> dict[str, int]:
    """Occurrences of the ids as whole values, by "file:column"; empty where there are none.

    Args:
        folder: an artefact.
        ids: what must not occur.
        items: whether an `item_id` column holds items; false for a vector store of users or boards.

    Raises:
        UserError: see check_searchable.
    """
    check_searchable(folder)
    wanted, found = pa.array(sorted(ids), pa.string()), {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".parquet":
            for column, count in _columns(path, wanted, items):
                found[f"{name}:{column}"] = found.get(f"{name}:{column}", 0) + count
        elif path.suffix in WORDS:
            found[name] = occurrences(path, ids)
    return {place: count for place, count in found.items() if count}


def check_searchable(folder: Path) -> None:
    """Raises UserError for a file that could hide an id."""
    for path in _files(folder):
        if path.suffix not in (".parquet", *WORDS, *NUMBERS):
            raise UserError(
                f"{path} cannot be searched for ids; {folder} should hold Parquet, .npy, .safetensors and JSON files only"
            )


def occurrences(path: Path, ids: Collection[str]) -> int:
    """How often an id is a whole value in a file of JSON, YAML or lines."""
    return sum(word in ids for word in _words(path))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _columns(path: Path, wanted: pa.Array, items: bool) -> Iterator[tuple[str, int]]:
    if path.name in OF_NODES:
        return
    skipped = OF_ITEMS if items else OF_ITEMS - {"item_id"}
    rejects = path.name == "rejects.parquet"
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if rejects or name not in skipped]
        for batch in file.iter_batches(batch_size=_ROWS, columns=names) if names else ():
            if rejects:
                yield from _of_rejects(batch, wanted)
                continue
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                yield name, sum(_count(leaf, wanted) for leaf in _strings(column))


def _of_rejects(batch: pa.RecordBatch, wanted: pa.Array) -> Iterator[tuple[str, int]]:
    """Refused edges: what a source or a target is depends on the relation."""
    relation = batch["relation"].cast(pa.string())
    for column, relations in (("source", SOURCES), ("target", TARGETS)):
        rows = pc.call_function("is_in", [relation], pc.SetLookupOptions(pa.array(relations, pa.string())))
        yield column, _count(batch[column].filter(rows), wanted)


def _strings(column: pa.Array) -> Iterator[pa.Array]:
    """The string arrays inside a column, however nested."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield column
    elif pa.types.is_dictionary(kind):
        yield from _strings(column.dictionary_decode())
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _strings(column.flatten())
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _strings(part)


def _count(values: pa.Array, wanted: pa.Array) -> int:
    hits = pc.call_function("is_in", [values.cast(pa.string())], pc.SetLookupOptions(wanted))
    return pc.call_function("sum", [hits]).as_py() or 0


def _words(path: Path) -> Iterator[str]:
    """Every key and string value of JSON and YAML, every line of a list."""
    text = path.read_text()
    if path.suffix == ".json":
        yield from _leaves(json.loads(text))
    elif path.suffix == ".yaml":
        yield from _leaves(yaml.safe_load(text))
    elif path.suffix == ".jsonl":
        yield from (word for line in text.splitlines() for word in _leaves(json.loads(line)))
    else:
        yield from text.splitlines()


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value
