"""The command `navigator-bench encoder`: how good encoders are on held-out items and boards, side by side, paired."""

from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError

PREFIXES = (64, 128, 256)


def encoder(
    catalog: Path,
    encoders: dict[str, str],
    out: Path = Path("runs/encoder-report"),
    graph: Path | None = None,
    holdout: float | None = None,
    label: str | None = None,
    picture_weight: float = 0.5,
    prefixes: list[int] | None = None,
    throughput: int = 512,
    map_items: int = 1500,
    sheet_items: int = 12,
    batch_size: int = 64,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Compare encoders on held-out items and boards: retrieval, board-mates, purity, smaller vectors, speed, pictures.

    Resumes after an interruption: the catalogue is encoded once by every encoder, and what is encoded is kept.

    Args:
        catalog: catalogue folder.
        encoders: name=encoder for every one, the first is what the others are compared with, for example
            untuned=embedded,tuned=runs/clip; an encoder is named as for `navigator embed --encoder`. Names that differ
            only after an @ (tuned@0, tuned@1) are runs of one recipe: the figures are their means, query by query.
        out: report folder to write.
        graph: taste graph folder; its held-out board saves are asked (without it: no boards, no board titles).
        holdout: share of the items held out by id that ask; default is the smallest share that a tuned encoder was
            tuned without, 0.1 when none was tuned; an encoder tuned with a smaller one is refused.
        label: column of items.parquet by which neighbours should agree; without it purity is not measured.
        picture_weight: share of the picture against the text, 0 to 1, for encoders without a learned gate.
        prefixes: lengths of shortened vectors to measure, default 64,128,256; [] measures no smaller vectors.
        throughput: items over which embedding with the last encoder is timed; 0 times nothing.
        map_items: most items on the map; 0 draws none.
        sheet_items: items on the sheet of nearest neighbours, first and last encoder in turn; 0 draws none.
        batch_size: items a forward pass.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of resampling, of the drawn items and of the map.

    Returns:
        Where the report is, main figures per encoder, and the comparison as text.

    Raises:
        UserError: a missing or foreign input, an encoder tuned on what would be asked, an option out of range.
    """
    prefixes = list(PREFIXES) if prefixes is None else prefixes
    sizes = {"throughput": throughput, "map_items": map_items, "sheet_items": sheet_items}
    bad = next((f"{name} {value}" for name, value in sizes.items() if value < 0), None)
    if bad or 0 < throughput < 8 or batch_size < 1 or min(prefixes, default=1) < 1 or sheet_items > 30:
        raise UserError(
            f"{bad or f'batch_size {batch_size}, prefixes {prefixes}, throughput {throughput}, sheet_items {sheet_items}'}"
            ": allowed are batch_size and prefixes >= 1, throughput 0 or >= 8, map_items >= 0, sheet_items 0 to 30"
        )
    if not 0 <= picture_weight <= 1:
        raise UserError(f"picture weight {picture_weight}: allowed are 0 (text only) to 1 (picture only)")
    from bench.encoder.run import Options, compare_encoders

    options = Options(
        catalog, encoders, out, graph, holdout, label, picture_weight, prefixes, throughput, map_items, sheet_items,
        batch_size, device, seed,
    )  # fmt: skip
    return compare_encoders(options)
