"""The command `navigator-bench language`: whether post-training kept the language, model against model on the same texts."""

import re
from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError

STOCK = "stock"


def language(
    catalog: Path,
    models: dict[str, str],
    vectors: Path,
    out: Path = Path("runs/language-report"),
    backbone: str | None = None,
    items: int = 200,
    paragraphs: int = 60,
    samples: int = 5,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Measure perplexity on held-out descriptions and on plain text, before and after training, text by text.

    Args:
        catalog: catalogue folder.
        models: name=folder for each swapped model, such as before=runs/swapped,after=runs/model; the first is what the
            others are compared with. Names that differ only after an @ (after@0, after@1) are runs of one recipe: the
            figures are their means, text by text.
        vectors: store of the item vectors that the models read.
        out: report folder to write.
        backbone: a row for the model before the swap, on plain text alone: "embedded", a folder or a hub id.
        items: descriptions asked, of items that training's describe task never shows; 0 is all of them.
        paragraphs: of plain English asked; it is prose of Python's own manual, not the catalogue's.
        samples: held-out items after whose prompt every model goes on writing.
        batch_size: texts a forward pass.
        device: auto, cpu or cuda.
        dtype: auto, float32, bfloat16 or float16.
        seed: of the chosen items and paragraphs and of resampling.

    Returns:
        Where the report is, perplexities per model, and the comparison as text.

    Raises:
        UserError: a missing input, a model of other vectors, too few held-out items, an option out of range.
    """
    if min(items, samples) < 0 or min(paragraphs, batch_size) < 1 or items == 1:
        raise UserError(
            f"items {items}, paragraphs {paragraphs}, samples {samples}, batch_size {batch_size}: allowed are items 0 or "
            ">= 2, samples >= 0, paragraphs and batch_size >= 1"
        )
    odd = next((name for name in models if not re.fullmatch(r"[\w.@-]+", name) or name == STOCK), None)
    if odd is not None or not models:
        raise UserError(
            f"models {odd if models else models!r}: give at least one name=folder; a name has letters, digits, dot, dash, "
            f"underscore or @ and is not {STOCK!r}, which --backbone adds"
        )
    from bench.language.run import Options, compare_language

    return compare_language(
        Options(catalog, models, vectors, out, backbone, items, paragraphs, samples, batch_size, device, dtype, seed)
    )
