"""A picture of one item's neighbourhood: the item, the boards and users its walks visit most, and their other items.

It shows what the sampler gives an encoder, so it is found by the same walks. Boards go by their titles; users are never
named. A board alone is one person's taste: where the policy asks for more people, a board's title is shown only if so
many people have a board of that title, and an item only if so many saved it. An item without a picture is its title in
a box.
"""

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from graph.saved_files import Files
from graph.walk import Walkable, walk
from navigator.contracts import UserError

CONTEXTS, ITEMS = 8, 3
WALKS, LENGTH, RESTART = 1_000, 20, 0.3
_INK, _FAINT, _EDGE = "#1f2328", "#6a737d", "#9aa7b4"
_FILL = {"board": "#dbeafe", "user": "#fde8d7"}
_PIXELS, _INNER, _OUTER = 160, 1.75, 3.35


@dataclass(frozen=True)
class Spoke:
    """A board or user around the item.

    Attributes:
        kind: board or user.
        label: what is written on it.
        visits: of the walks from the item.
        items: item indices around it, with their visits.
    """

    kind: str
    label: str
    visits: int
    items: list[tuple[int, int]]


def draw_neighbourhood(files: Files, item: str, out: Path, least: int = 1) -> Path:
    """Draw the neighbourhood of an item and save it as PNG.

    Args:
        item: external id; empty for the item with most training saves.
        out: the PNG to write; its folder is made.
        least: fewest people behind a board's title or an outer item (see graph.policy).

    Raises:
        UserError: an empty catalogue.
    """
    if not len(files.item_ids):
        raise UserError("the catalogue has no item: there is no neighbourhood to draw")
    degree = files.taste_graph.degrees("item")
    seed = files.catalog.item_index[item] if item else int(np.argmax(degree))
    spokes = neighbours(files, seed, least)
    shown = [seed, *(i for spoke in spokes for i, _ in spoke.items)]
    ids = [files.catalog.item_ids[i] for i in shown]
    pictures, titles = files.catalog.images(ids), _titles(files, ids)
    figure = Figure(figsize=(13, 13), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 0.95))
    axes.set_axis_off()
    axes.set_xlim(-4.2, 4.2)
    axes.set_ylim(-4.0, 4.0)
    name = titles[ids[0]]
    figure.text(0.03, 0.965, f"Around “{_short(name, 60)}”", fontsize=17, color=_INK)
    said = f"{int(degree[seed]):,} training saves; walks from it visit these boards and users most, lines by visits"
    figure.text(
        0.03,
        0.945,
        said if spokes else "no training save: the graph knows nothing of this item",
        fontsize=11,
        color=_FAINT,
    )
    _draw(axes, files, seed, spokes, pictures, titles)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".tmp")
    figure.savefig(beside, format="png", facecolor="white")
    beside.replace(out)
    return out


def neighbours(files: Files, seed: int, least: int = 1) -> list[Spoke]:
    """The CONTEXTS most visited boards and users of an item, each with the ITEMS most visited of its other items.

    An item stands beside the first of the boards and users that hold it; of a title that several boards have the most
    visited board stands for all.
    """
    opened = files.taste_graph
    names = [name for name in ("holds", "saved") if any(kind[1] == name for kind in opened.edge_types)]
    relations = {kind: opened.relation(name) for name, kind in (("holds", "board"), ("saved", "user")) if name in names}
    sizes = {kind: opened.n_nodes(kind) for kind in ("item", "board", "user")}
    top = {"item": 400, **dict.fromkeys(relations, 4 * CONTEXTS)}
    options = {"walks": WALKS, "length": LENGTH, "restart": RESTART}
    found = walk(Walkable.of(list(relations.values()), sizes), "item", np.array([seed]), top, **options)
    visits = {int(i): int(n) for i, n in zip(found["item"].nodes[0], found["item"].visits[0], strict=True) if i >= 0}
    around = [
        (int(n), kind, int(node))
        for kind in relations
        for node, n in zip(found[kind].nodes[0], found[kind].visits[0], strict=True)
        if node >= 0
    ]
    labels = _labels(files, least)
    savers = np.diff(files.item_people.indptr)
    spokes: list[Spoke] = []
    taken, written = {seed}, set()
    for n, kind, node in sorted(around, key=lambda entry: (-entry[0], entry[1], entry[2])):
        label = labels.get(node, "a board") if kind == "board" else "a user"
        if len(spokes) == CONTEXTS or (kind == "board" and label in written and label != "a board"):
            continue
        held = relations[kind].indices[relations[kind].indptr[node] : relations[kind].indptr[node + 1]].tolist()
        inside = sorted(
            (i for i in held if i in visits and i not in taken and savers[i] >= least), key=lambda i: -visits[i]
        )
        taken.update(inside[:ITEMS])
        written.add(label)
        spokes.append(Spoke(kind, label, n, [(i, visits[i]) for i in inside[:ITEMS]]))
    return spokes


def _labels(files: Files, least: int) -> dict[int, str]:
    """Titles of the boards by node, as far as `least` people have a board of that title."""
    owners = files.owners["board-completion"]
    node = {board: n for n, board in enumerate(files.taste_graph.node_ids("board"))}
    titles = {
        node[b]: t.strip() for b, t in zip(owners.ids.to_pylist(), owners.titles.to_pylist(), strict=True) if b in node
    }
    people: dict[str, set[int]] = {}
    for n, title in titles.items():
        people.setdefault(title.lower(), set()).add(int(files.people["board"][n]))
    return {n: title for n, title in titles.items() if title and len(people[title.lower()]) >= least}


def _draw(
    axes: Axes, files: Files, seed: int, spokes: list[Spoke], pictures: dict[str, bytes], titles: dict[str, str]
) -> None:
    """Spokes at equal angles; each one's items fan out behind it."""
    ids = files.catalog.item_ids
    most = max((spoke.visits for spoke in spokes), default=1)
    most_items = max((n for spoke in spokes for _, n in spoke.items), default=1)
    step = 2 * np.pi / max(len(spokes), 1)
    for place, spoke in enumerate(spokes):
        angle = np.pi / 2 - step * place
        middle = _at(angle, _INNER)
        axes.plot(
            [0, middle[0]],
            [0, middle[1]],
            color=_EDGE,
            lw=1 + 9 * spoke.visits / most,
            solid_capstyle="round",
            zorder=1,
        )
        fan = (np.arange(len(spoke.items)) - (len(spoke.items) - 1) / 2) * min(step / max(len(spoke.items), 1), 0.6)
        for turn, (item, n) in zip(fan.tolist(), spoke.items, strict=True):
            far = _at(angle - turn, _OUTER)
            axes.plot(*zip(middle, far, strict=True), color=_EDGE, lw=0.8 + 4 * n / most_items, zorder=1)
            _item(axes, far, pictures.get(ids[item]), titles[ids[item]], 0.42)
        _label(axes, middle, spoke)
    _item(axes, (0, 0), pictures.get(ids[seed]), titles[ids[seed]], 0.95, edge=_INK)


def _label(axes: Axes, at: tuple[float, float], spoke: Spoke) -> None:
    words = "\n".join(textwrap.wrap(_short(spoke.label, 40), 16)) + f"\n{spoke.visits:,}"
    box = {"boxstyle": "round,pad=0.4", "fc": _FILL[spoke.kind], "ec": _EDGE}
    axes.text(*at, words, ha="center", va="center", fontsize=10, color=_INK, bbox=box, zorder=3)


def _item(
    axes: Axes, at: tuple[float, float], picture: bytes | None, title: str, zoom: float, edge: str = _EDGE
) -> None:
    """The picture with its title below; the title in a box where there is no readable picture."""
    image = None if picture is None else _opened(picture)
    if image is None:
        words = "\n".join(textwrap.wrap(_short(title, 48), 14)) or "no title"
        box = {"boxstyle": "square,pad=0.6", "fc": "#f3f4f6", "ec": edge}
        axes.text(*at, words, ha="center", va="center", fontsize=9, color=_INK, bbox=box, zorder=3)
        return
    drawn = OffsetImage(image, zoom=zoom)
    axes.add_artist(AnnotationBbox(drawn, at, pad=0.2, bboxprops={"ec": edge, "fc": "white"}, zorder=3))
    below = image.shape[0] * zoom / 2 + 6  # points: a pixel of an OffsetImage is one
    axes.annotate(
        _short(title, 20), at, xytext=(0, -below), textcoords="offset points", ha="center", va="top",
        fontsize=8, color=_FAINT, zorder=4, bbox={"fc": "white", "ec": "none", "pad": 0.6},
    )  # fmt: skip


def _opened(picture: bytes) -> np.ndarray | None:
    """(h, w, 3) uint8, on white, at most _PIXELS a side; None for a picture that cannot be read."""
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            image = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def _titles(files: Files, ids: list[str]) -> dict[str, str]:
    table = files.catalog.table("items", ["item_id", "title"])
    wanted = set(ids)
    rows = zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True)
    return {i: title or i for i, title in rows if i in wanted}


def _short(text: str, room: int) -> str:
    text = " ".join(text.split()).replace("$", r"\$")
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def _at(angle: float, radius: float) -> tuple[float, float]:
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))
