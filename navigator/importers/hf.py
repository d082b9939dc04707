"""Items from a `datasets` data set: a local folder or a name on the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from navigator.contracts import UserError
from navigator.importers.ingest import Limits, Source, write_catalog
from navigator.importers.table import COLUMNS

if TYPE_CHECKING:
    from datasets import Dataset


def import_hf(
    out: Path, name: str, split: str = "train", columns: dict[str, str] | None = None, strict: bool = False,
    max_pixels: int = 50_000_000, max_side: int = 256,
) -> dict[str, Any]:  # fmt: skip
    """Import the items of a Hugging Face data set; saves can be added with `import table`.

    Args:
        out: catalogue folder to write.
        name: folder made by `save_to_disk`, folder of Parquet, CSV or picture files, or a data set's name on the hub.
        split: which part of the data set.
        columns: what its columns are called, as in title=caption,image=photo; without item_id the row number is the id.
        strict: stop at the first reject instead of counting it.
        max_pixels: largest picture that is decoded, width x height.
        max_side: side of the square, in pixels, that stored pictures fit.
    """
    data = _open(name, split)
    chosen = _chosen(data.column_names, columns or {}, name)
    config = {"importer": "hf", "name": name, "split": split, "columns": columns or {}}
    inputs = {"dataset": data._fingerprint}
    limits = Limits(strict, max_pixels, max_side)
    return write_catalog(out, config, inputs, lambda: Source(_items(data, chosen), items_total=len(data)), limits)


def _open(name: str, split: str) -> "Dataset":
    """Raises UserError when there is no such data set, split or connection."""
    import datasets
    from datasets.exceptions import DatasetsError

    folder = Path(name)
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            found = datasets.load_from_disk(name)
            if isinstance(found, datasets.Dataset):
                return found
            if split not in found:
                raise UserError(f"data set {name} has no split {split!r}; it has {', '.join(map(str, found))}")
            return found[split]
        return datasets.load_dataset(name, split=split)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot open data set {name!r}, split {split!r} ({why}); give a local folder, or check name and network"
        ) from error


def _chosen(present: list[str], mapping: dict[str, str], name: str) -> dict[str, str]:
    """contract column -> the data set's column."""
    for column, wanted in mapping.items():
        if column not in COLUMNS["items"]:
            raise UserError(f"columns names {column!r}; the columns to map are {', '.join(COLUMNS['items'])}")
        if wanted not in present:
            raise UserError(f"no column {wanted!r} (for {column}) in {name}; it has {', '.join(present)}")
    both = {column: mapping.get(column, column) for column in COLUMNS["items"]}
    chosen = {column: wanted for column, wanted in both.items() if wanted in present}
    if not {"title", "description"} & chosen.keys():
        raise UserError(
            f"{name} has no column for title; name it with --columns title=NAME, one of {', '.join(present)}"
        )
    return chosen


def _items(data: "Dataset", chosen: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Rows under the contract's names; pictures stay encoded, a class label becomes its name."""
    import datasets

    data = data.select_columns(sorted(set(chosen.values())))
    for column, feature in data.features.items():
        if isinstance(feature, datasets.Image):
            data = data.cast_column(column, datasets.Image(decode=False))
    labels = {c: f for c, f in data.features.items() if isinstance(f, datasets.ClassLabel)}
    for number, row in enumerate(cast(Iterator[dict[str, Any]], iter(data))):
        named = {column: _label(row[wanted], labels.get(wanted)) for column, wanted in chosen.items()}
        if isinstance(named.get("keywords"), str):
            named["keywords"] = [named["keywords"]]
        yield {"item_id": str(number), **named}


def _label(value: Any, label: Any) -> Any:
    return value if label is None or value is None else label.int2str(value)
