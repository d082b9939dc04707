"""MovieLens (ml-latest-small) with a Parquet of posters: users, stars and times beside pictures and words.

A movie without a poster is a reject ("no picture") and so are its ratings ("unknown item"): every rating is a positive,
whatever its stars, and the stars are kept as `value`.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from navigator.contracts import UserError
from navigator.contracts.manifest import file_digest
from navigator.importers.ingest import Limits, Source, write_catalog

FILES = ("movies.csv", "ratings.csv", "tags.csv", "posters.parquet")
MAX_KEYWORDS = 16
_NO_GENRE = "(no genres listed)"


def import_movielens(
    out: Path, source: Path, strict: bool = False, max_pixels: int = 50_000_000, max_side: int = 256
) -> dict[str, Any]:
    """Import MovieLens with posters.

    Args:
        out: catalogue folder to write.
        source: folder with movies.csv, ratings.csv, tags.csv and posters.parquet (movie_id, image).
        strict: stop at the first reject instead of counting it.
        max_pixels: largest picture that is decoded, width x height.
        max_side: side of the square, in pixels, that stored pictures fit.
    """
    source = Path(source)
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise UserError(f"{source} lacks {missing[0]}; --source needs a folder with {', '.join(FILES)}")
    inputs = {name: file_digest(source / name) for name in FILES}
    limits = Limits(strict, max_pixels, max_side, need_pictures=True)
    return write_catalog(out, {"importer": "movielens"}, inputs, lambda: _source(source), limits)


def _source(source: Path) -> Source:
    movies = sorted(_csv(source / "movies.csv", "movieId", "title", "genres"), key=lambda movie: int(movie[0]))
    return Source(
        items=_items(movies, _tags(source / "tags.csv"), _posters(source / "posters.parquet")),
        interactions=_ratings(source / "ratings.csv"),
        items_total=len(movies),
    )


def _items(
    movies: list[tuple[str, ...]], tags: dict[str, list[str]], posters: Iterator[tuple[str, bytes]]
) -> Iterator[dict[str, Any]]:
    """Movies by id with their posters: both are in ascending order, so the posters stream past."""
    poster = next(posters, None)
    for movie_id, title, genres in movies:
        while poster is not None and int(poster[0]) < int(movie_id):
            poster = next(posters, None)
        keywords = [genre.lower() for genre in genres.split("|") if genre != _NO_GENRE] + tags.get(movie_id, [])
        keywords = list(dict.fromkeys(keywords))[:MAX_KEYWORDS]
        image = poster[1] if poster is not None and poster[0] == movie_id else None
        yield {"item_id": movie_id, "title": title, "keywords": keywords, "image": image}


def _posters(path: Path) -> Iterator[tuple[str, bytes]]:
    """(movie id, picture), read a batch at a time; the file must be sorted by movie id."""
    try:
        with pq.ParquetFile(path) as file:
            has = file.schema_arrow.names
            if not {"movie_id", "image"} <= set(has):
                raise UserError(f"{path} needs the columns movie_id and image; it has {', '.join(has)}")
            ids = file.read(["movie_id"])["movie_id"].to_pylist()
            if ids != sorted(ids):
                raise UserError(f"{path} is not sorted by movie_id; sort it first")
            for batch in file.iter_batches(batch_size=256, columns=["movie_id", "image"]):
                yield from zip(map(str, batch["movie_id"].to_pylist()), batch["image"].to_pylist(), strict=True)
    except pa.ArrowException as error:
        raise UserError(f"{path} is not a readable Parquet file ({error}); get it again") from error


def _tags(path: Path) -> dict[str, list[str]]:
    """movieId -> its tags in lower case, the most frequent first, then by alphabet."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for movie_id, tag in _csv(path, "movieId", "tag"):
        counts[movie_id][" ".join(tag.lower().split())] += 1
    return {movie: sorted(filter(None, tags), key=lambda tag: (-tags[tag], tag)) for movie, tags in counts.items()}


def _ratings(path: Path) -> Iterator[pa.RecordBatch]:
    names = {"userId": "user_id", "movieId": "item_id", "timestamp": "at", "rating": "value"}
    texts = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), include_columns=list(names))
    try:
        with pa_csv.open_csv(path, convert_options=texts) as reader:
            for batch in reader:
                renamed = batch.rename_columns([names[name] for name in batch.schema.names])
                yield renamed.append_column("action", pa.array(["rate"] * len(batch), pa.string()))
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise UserError(f"cannot read {path}: {error}; it needs the columns {', '.join(names)}") from error


def _csv(path: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        missing = [column for column in columns if column not in (reader.fieldnames or [])]
        if missing:
            raise UserError(f"{path} lacks the column {missing[0]}; it has {', '.join(reader.fieldnames or [])}")
        for row in reader:
            yield tuple(row[column] for column in columns)
