"""How the figures of `navigator-bench encoder` came about, in sentences that go into the report."""

from typing import Any

from bench.encoder.measure import LAST
from bench.encoder.throughput import REPEATS
from bench.intervals import RESAMPLES


def protocol(config: dict[str, Any], asked: bool) -> list[str]:
    """The sentences for a run with these options (seed and holdout included); `asked`: whether boards were asked."""
    lines = [
        f"Held out: {config['holdout']:g} of the items, chosen by a hash of the id alone; of these only items whose "
        "picture (bytes) and text (case and outer spaces aside) occur nowhere among the other items.",
        "Ties: score descending, then catalogue order. Scores are cosines. An item without the part in question "
        "(picture, text) has no direction: it scores 0.",
        "text -> item: each held-out item with text and picture asks by its text; searched are bare pictures of those "
        "items (held-out) or of the whole catalogue; any item with the very same text is right.",
        f"board -> item: the query is the mean of the vectors of the board's latest {LAST} items, all of them but the "
        "one held out of the board; the whole catalogue is ranked, the board's items excluded. HR@10, NDCG@10 (ideal "
        "cut at min(targets, 10)), recall@50.",
        "item -> board-mates: the query is the held-out save's own item vector, the whole catalogue but itself is "
        "ranked; right are all other items of the board. Recall@10 is hits / min(10, right items).",
        "Boards of owners never seen are in no training signal at all, and each of their items (at most 20 a board) is asked "
        "for in turn; of the others one save was held out. Warm: the "
        "held-out item has training saves on other boards; cold: it has none at all.",
        "Modalities: both is the item vector of all its parts (learned gate, or fixed weights, picture "
        f"{config['picture_weight']:g}); picture and text are those parts alone. Board titles (of training boards "
        "only) are a part for encoders with a gate, and for the control row +titles, which adds them to the first "
        "encoder by the fixed rule.",
        f"Intervals: 95 % percentile bootstrap, {RESAMPLES:,} resamples, seed {config['seed']}; text -> item and "
        "purity draw queries, board figures draw owners with all their boards. Differences are paired by query.",
    ]
    if not asked:
        lines.append("Boards were not asked: there is no taste graph here whose boards hold something out.")
    if config["label"]:
        lines.append(
            f"Purity@10: share of the 10 nearest items with the query's own {config['label']}; held-out items ask, the "
            "others held out or the whole catalogue answer; items without a label take no part."
        )
    if config["prefixes"]:
        lines.append(
            "Smaller vectors: the first dims dimensions normalised again; int8 has one scale a dimension, "
            "max |x| / 127; queries of text -> item are float32 of the same dims, those of board -> item are made from "
            "the small vectors. Shares are ratios of means over the same resamples."
        )
    if config["throughput"]:
        lines.append(
            f"Speed: medians of {REPEATS} repeats, the two in turn; `navigator embed` from the catalogue to the store without "
            "what starting costs, against model.encode_image and encode_text on tensors and tokens that lie ready."
        )
    return lines
