"""What an annotator gets: one CSV and one self-contained page, which say the same and nothing of any system.

The page (annotate.html beside this file) works from a folder without a network: pictures are inlined, its security policy
forbids every request, and all words of the catalogue reach it as JSON that cannot end its script element and are shown as
text, never as markup.
"""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.gold.scale import GRADES
from navigator.contracts.manifest import write_text

TEMPLATE = Path(__file__).with_name("annotate.html")
COLUMNS = ("pair", "query", "item", "grade")
ASKS = {
    "board": "A board with this title and these items. Would the item shown large belong on it?",
    "title": "Somebody types these words. Is the item shown large what they want?",
    "user": "Somebody saved these items, the latest last. Would they save the item shown large?",
    "text": "Somebody types these words. Is the item shown large what they want?",
}
_TYPES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"RIFF", "webp"))


@dataclass(frozen=True)
class Shown:
    """One query as annotators see it; `pairs` are (name of the pair, item id)."""

    kind: str
    title: str
    history: list[str]
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class Things:
    """Titles and pictures of the items that a task shows, by item id."""

    titles: Mapping[str, str]
    pictures: Mapping[str, bytes]


def shuffled(asked: Sequence[Shown], annotator: str, seed: int) -> list[Shown]:
    """The queries in an order of the annotator's own, and the items of each; what one query asks stays together."""
    rng = np.random.default_rng([seed, *annotator.encode()])
    order = rng.permutation(len(asked))
    return [
        Shown(own.kind, own.title, own.history, [own.pairs[i] for i in rng.permutation(len(own.pairs))])
        for own in (asked[i] for i in order)
    ]


def write_annotator(folder: Path, name: str, task: str, asked: Sequence[Shown], things: Things) -> None:
    """NAME.csv and NAME.html.

    Args:
        folder: where to.
        name: of the annotator.
        task: what the page's memory in the browser is kept under, beside the name.
        asked: in the order to be graded in.
        things: what the items look like.
    """
    write_text(folder / f"{name}.csv", csv_text(asked, things))
    write_text(folder / f"{name}.html", page(name, task, asked, things))


def csv_text(asked: Sequence[Shown], things: Things) -> str:
    """The file to fill in: column grade takes 1 to 5; query and item are there to be read."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    for own in asked:
        for pair, item in own.pairs:
            writer.writerow([pair, _cell(_words(own, things)), _cell(things.titles.get(item) or item), ""])
    return sink.getvalue()


def page(name: str, task: str, asked: Sequence[Shown], things: Things) -> str:
    """The annotation page."""
    items = list(dict.fromkeys(i for own in asked for i in [*own.history, *(item for _, item in own.pairs)]))
    place = {item: number for number, item in enumerate(items)}
    data = {
        "task": task,
        "annotator": name,
        "columns": COLUMNS,
        "grades": [[grade.number, grade.name, grade.meaning] for grade in reversed(GRADES)],
        "items": [[things.titles.get(item) or item, _data_url(things.pictures.get(item))] for item in items],
        "queries": [
            [ASKS[own.kind], own.title, [place[i] for i in own.history], _cell(_words(own, things))] for own in asked
        ],
        "pairs": [
            [pair, number, place[item], _cell(things.titles.get(item) or item)]
            for number, own in enumerate(asked)
            for pair, item in own.pairs
        ],
    }
    return TEMPLATE.read_text().replace("/*TASK*/null", as_script(data), 1)


def as_script(data: Any) -> str:
    """JSON that may stand in a script element: no tag, comment or line separator can be formed from it."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _words(own: Shown, things: Things) -> str:
    latest = "; ".join(things.titles.get(item) or item for item in own.history[-3:])
    return " | ".join(part for part in (own.title, latest) if part)


def _cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = " ".join(text.split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _data_url(picture: bytes | None) -> str | None:
    kind = next((name for head, name in _TYPES if picture and picture.startswith(head)), None)
    return None if kind is None or picture is None else f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
