"""map.png, items of two encoders laid out in the plane, and neighbours.png, nearest neighbours before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from bench.drawing import save
from bench.encoder.measure import Contender
from bench.encoder.questions import Questions, codes
from bench.encoder.rank import nearest
from navigator.contracts import Catalog
from navigator.sheet import MAX_COLUMNS, SheetRow, contact_sheet

_PCA, _PERPLEXITY, _COLOURS = 50, 30.0, 10
_FEWEST = 10  # items below which a map says nothing


@dataclass(frozen=True)
class Seen:
    """What the pictures need of one encoder.

    Attributes:
        name: of the encoder.
        points: (m, D) vectors of the mapped items.
        found: (s, k) neighbours of the items on the sheet, catalogue rows.
    """

    name: str
    points: np.ndarray
    found: np.ndarray


def look(contender: Contender, mapped: np.ndarray, asking: np.ndarray) -> Seen:
    """Vectors of the mapped items, and the nearest neighbours of the asking ones in the whole catalogue."""
    vectors = contender.vectors("both")
    found = nearest(vectors[asking], vectors, MAX_COLUMNS - 1, [(int(row),) for row in asking])
    return Seen(contender.name, vectors[mapped], found)


def draw_items(questions: Questions, items: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeded samples of the held-out items, ascending: for the map and for the sheet."""
    rng = np.random.default_rng(seed)
    pool = questions.text_items if len(questions.text_items) else questions.held
    mapped = rng.permutation(questions.held)[:items]
    return np.sort(mapped), np.sort(rng.permutation(pool)[:rows])


def draw_map(path: Path, panels: Sequence[Seen], rows: np.ndarray, questions: Questions, seed: int) -> bool:
    """t-SNE of the held-out items, one panel an encoder, the most frequent labels (or boards) in colour.

    L. van der Maaten and G. Hinton, Visualizing Data using t-SNE (2008); PCA to 50 dimensions first, as there.

    Returns:
        Whether a map was drawn; it is not when there are too few items.
    """
    if len(rows) < _FEWEST:
        return False
    names = colour_names(questions, rows)
    own, labels = codes(names)
    top = np.argsort(-np.bincount(own[own >= 0], minlength=1), kind="stable")[:_COLOURS] if labels else []
    figure, axes = plt.subplots(1, len(panels), figsize=(6.5 * len(panels), 6), layout="constrained", squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        place = layout(panel.points, seed)
        axis.scatter(*place.T, s=9, color="#cbd5e1", linewidths=0)
        for colour, label in enumerate(top):
            axis.scatter(*place[own == label].T, s=16, color=f"C{colour}", label=labels[label], linewidths=0)
        axis.set_title(panel.name, loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
    if len(top):
        handles, texts = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, [t[:30] for t in texts], loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.suptitle(f"{len(rows):,} held-out items, t-SNE (seed {seed})", fontsize=10, color="#64748b")
    save(figure, path)
    return True


def layout(points: np.ndarray, seed: int) -> np.ndarray:
    """(m, D) vectors -> (m, 2) places."""
    width = min(_PCA, *points.shape)
    reduced = PCA(width, random_state=seed).fit_transform(points.astype(np.float64))
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)


def colour_names(questions: Questions, rows: np.ndarray) -> list[str]:
    """What each item is coloured by: its label, or that of its boards which most of the rows have; "" for none."""
    if questions.labels is not None:
        return [questions.label_names[code] if code >= 0 else "" for code in questions.labels[rows]]
    if questions.all_titles is None:
        return [""] * len(rows)
    titles = [questions.all_titles[row] for row in rows]
    counts: dict[str, int] = {}
    for title in (title for own in titles for title in own):
        counts[title] = counts.get(title, 0) + 1
    return [max(own, key=lambda title: (counts[title], title), default="") for own in titles]


def draw_sheet(
    path: Path, catalog: Catalog, seen: Sequence[Seen], asking: np.ndarray, has_picture: np.ndarray
) -> bool:  # fmt: skip
    """For each asking item a row an encoder: the item itself, then its nearest neighbours; False without items.

    `has_picture` ((n,) bool) marks the items whose picture can be read; the others are grey boxes.
    """
    if not len(asking):
        return False
    ids, titles = catalog.item_ids, catalog.table("items", ["title"])["title"].to_pylist()
    wanted = {int(row) for row in asking} | {int(row) for s in seen for row in s.found.ravel() if row >= 0}
    images = catalog.images([ids[row] for row in wanted if has_picture[row]])
    rows = []
    for number, item in enumerate(asking):
        for one in seen:
            shown = [int(item), *(int(row) for row in one.found[number] if row >= 0)]
            rows.append(
                SheetRow(
                    f"{one.name}: {titles[item] or ids[item]}",
                    [images.get(ids[row]) for row in shown],
                    [titles[row] or ids[row] for row in shown],
                )
            )
    contact_sheet(rows, path)
    return True
