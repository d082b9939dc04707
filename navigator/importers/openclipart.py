"""Debian's openclipart as a catalogue: public-domain drawings; a board is what one uploader filed under one keyword.

The packages openclipart-svg and openclipart-png hold each work twice. The SVG tells who drew it and what it is about,
the PNG is the picture. Left out, and counted in the manifest: SVG files that are links to another, icon themes, playing
cards and the generated stars. Works with the same PNG bytes are one work (Debian links them); the item id is made from
those bytes, so that the second one is a "duplicate id".

Boards need three works. A board is a topic that an uploader chose, so some keywords make none: the uploader's own name,
"unsorted" (filed nowhere) and "hash" (a script's slip). Words that are also folder names (food, flags) are topics.
With `--boards keyword` a board is what all uploaders filed under one keyword (keyword_boards.py), and the split is given.

`text`, which models read, lacks the keywords of the item's boards, the uploader's name and the folder names, all of
which would give the board away (leaks.py). `title` is as published; `keywords` are kept for people, never for models.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from navigator.assets import cache_dir
from navigator.contracts import UserError
from navigator.importers.filing import MIN_BOARD, board_ids, file_by_uploader
from navigator.importers.ingest import Limits, Source, tree_digest, write_catalog
from navigator.importers.keyword_boards import file_by_keyword
from navigator.importers.leaks import phrase_and_words, term, without
from navigator.importers.pictures import pixels
from navigator.importers.rdf import Work, read_work

BoardKind = Literal["uploader", "keyword"]


@dataclass(frozen=True)
class Drawing:
    """One work: its picture file, its place in the tree and what its SVG says."""

    item_id: str
    place: Path
    picture: Path
    work: Work


def import_openclipart(
    out: Path, source: Path | None = None, tenth: bool = False, strict: bool = False, max_pixels: int = 50_000_000,
    max_side: int = 256, boards: BoardKind = "uploader",
) -> dict[str, Any]:  # fmt: skip
    """Import Debian's openclipart: about 4,000 works and 600 boards.

    Args:
        out: catalogue folder to write.
        source: folder with the unpacked packages; by default what `navigator fetch openclipart` left in the cache.
        tenth: keep about a tenth, whole uploaders, for quick runs.
        strict: stop at the first reject instead of counting it.
        max_pixels: largest picture that is decoded, width x height.
        max_side: side of the square, in pixels, that stored pictures fit.
        boards: what one uploader filed under a keyword, or what all did. For `keyword` boards the split is given, in the
            column part of boards.parquet: a fifth of the keywords are test boards and 15 % validation boards, which
            training does not see; 15 % of the uploaders are cut from all of these, and their works make boards that
            only ask (unseen-uploaders/...).
    """
    source = Path(source) if source else cache_dir() / "openclipart"
    svg, png = (_root(source, kind) for kind in ("svg", "png"))
    skipped: Counter[str] = Counter()

    metrics: dict[str, Any] = {"left_out": skipped}

    def read() -> Source:
        drawings = _drawings(svg, png, skipped)
        return _source(_about_a_tenth(drawings) if tenth else drawings, max_pixels, boards, metrics)

    limits = Limits(strict, max_pixels, max_side, need_pictures=True)
    inputs = {"svg": tree_digest(svg), "png": tree_digest(png)}
    config = {"importer": "openclipart", "tenth": tenth}
    config |= (
        {"boards": boards} if boards != "uploader" else {}
    )  # catalogues made before there was a choice stay current
    return write_catalog(out, config, inputs, read, limits, metrics)


def _root(source: Path, kind: str) -> Path:
    """The `.../openclipart/svg` or `.../openclipart/png` folder, at most three levels below `source`."""
    tail = Path("usr/share/openclipart") / kind
    found = next(
        (root / tail for root in (source, source / kind, *sorted(source.glob("*"))) if (root / tail).is_dir()), None
    )
    if found is None:
        raise UserError(f"no {tail} below {source}; get it with `navigator fetch openclipart` or give --source FOLDER")
    return found


def _drawings(svg: Path, png: Path, skipped: Counter[str]) -> list[Drawing]:
    """Every work, by path; `skipped` counts what is left out and why."""
    drawings = []
    for path in sorted(svg.rglob("*.svg")):
        place = path.relative_to(svg)
        picture = (png / place).with_suffix(".png")
        reason = _left_out(path, place, picture)
        if reason:
            skipped[reason] += 1
            continue
        item_id = "oca-" + hashlib.sha256(picture.read_bytes()).hexdigest()[:8]
        drawings.append(Drawing(item_id, place, picture, read_work(path)))
    # Where two works share a picture, the one whose PNG is a file, not a link to the other's, comes first and stays.
    drawings.sort(key=lambda drawing: drawing.picture.is_symlink())
    return drawings


def _left_out(path: Path, place: Path, picture: Path) -> str:
    if path.is_symlink():
        return "SVG is a link to another"
    if any(part.endswith("-theme") for part in place.parts):
        return "icon theme"
    if place.is_relative_to("recreation/games/cards"):
        return "playing card"
    if place.is_relative_to("shapes/stars"):
        return "generated star"
    return "" if picture.is_file() else "no PNG"


def _about_a_tenth(drawings: list[Drawing]) -> list[Drawing]:
    """Whole uploaders, so that their boards stay whole: those with boards, in the order of the hash of their names.

    None may fill more than a quarter of the room, else a tenth would be one person's taste.
    """
    sizes = Counter(drawing.work.uploader for drawing in drawings)
    with_boards = {uploader for uploader, _ in file_by_uploader((d.item_id, d.work) for d in drawings).boards}
    room = len(drawings) // 10
    largest, kept = max(MIN_BOARD, room // 4), set()
    for uploader in sorted(with_boards, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if sizes[uploader] <= min(largest, room):
            kept.add(uploader)
            room -= sizes[uploader]
    return [drawing for drawing in drawings if drawing.work.uploader in kept]


def _source(
    drawings: list[Drawing], max_pixels: int, kind: BoardKind = "uploader", metrics: dict[str, Any] | None = None
) -> Source:
    """The rows; what is told of keyword boards goes into `metrics`."""
    # Boards are settled before the first item is written (its text depends on them), so from what will be let in.
    works = [
        (d.item_id, d.work)
        for d in drawings
        if (d.work.title or d.work.description) and pixels(d.picture) <= max_pixels
    ]
    filing = file_by_keyword(works) if kind == "keyword" else file_by_uploader(works)
    if filing.counts and metrics is not None:
        metrics["keyword_boards"] = filing.counts
    boards, parts = filing.boards, filing.parts or {}
    names = board_ids(boards)
    saves = [(names[key], item_id) for key, items in boards.items() for item_id in items]
    columns = [pa.array(column, pa.string()) for column in (list(zip(*saves, strict=True)) or [[], []])]
    return Source(
        items=(_item(drawing, filing.words.get(drawing.item_id, set())) for drawing in drawings),
        boards=(
            {"board_id": names[key], "title": key[1].replace("_", " "), "owner_id": key[0], "part": parts.get(key)}
            for key in boards
        ),
        board_items=[pa.record_batch(columns, names=["board_id", "item_id"])],
        items_total=len(drawings),
        extra=("uploader", "source_path"),
        parted=filing.parts is not None,
    )


def _item(drawing: Drawing, board_keywords: set[str]) -> dict[str, Any]:
    work = drawing.work
    terms = [term(keyword) for keyword in board_keywords] + phrase_and_words(work.uploader)
    for folder in drawing.place.parent.parts:
        terms += phrase_and_words(folder)
    terms += [term(f"{credit} {work.uploader}") for credit in ("by", "clipart by", "clip art by") if work.uploader]
    parts = list(dict.fromkeys(without(part, terms) for part in (work.title, work.description)))
    return {
        "item_id": drawing.item_id, "title": work.title, "description": work.description,
        "keywords": list(work.keywords), "image": drawing.picture, "uploader": work.uploader,
        "source_path": drawing.place.as_posix(), "text": without(". ".join(part for part in parts if part), terms),
    }  # fmt: skip
