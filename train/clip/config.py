"""What tuning an encoder can be told."""

from dataclasses import dataclass

from navigator.contracts import UserError


@dataclass(frozen=True)
class ClipConfig:
    """Which objectives, and what they see.

    Attributes:
        picture_text: weight of the picture-text loss, 0 leaves it out.
        neighbours: weight of the neighbour loss, 0 leaves it out; needs a taste graph.
        stay: weight of the loss that keeps the cosines between items as they were before tuning, 0 leaves it out.
        hard_negatives: hard negatives per anchor in the neighbour loss, 0 none.
        prefixes: Matryoshka: leading dimensions that must do alone; 0 stands for all of them.
        visit_power: neighbours of an item are drawn by visit count to this power.
        graded: anchors count by (their training saves) to this power, mean 1 (GCL, arXiv 2404.08535); 0 all alike.
        fusion: learn the gate, with titles and captions as parts; without, picture and text count alike.
        drop_part: share of items that are shown without their picture or without their text.
        drop_titles: share of items that are shown without the titles of their boards.
        scale: first scale of the cosines in the sigmoid.
        bias: first bias there.
    """

    picture_text: float = 1.0
    neighbours: float = 1.0
    stay: float = 0.3
    hard_negatives: int = 0
    prefixes: tuple[int, ...] = (64, 128, 256, 0)
    visit_power: float = 0.5
    graded: float = 0.0
    fusion: bool = True
    drop_part: float = 0.2
    drop_titles: float = 0.3
    scale: float = 10.0
    bias: float = -10.0


@dataclass(frozen=True)
class TowerConfig:
    """Which layers learn, and how pictures come in.

    Attributes:
        picture_layers: top layer groups of the picture tower that learn: 0 none (its features are computed once), -1 all.
        text_layers: top layers of the text tower that learn, as above.
        image_size: side of the pictures in pixels; 0 keeps the encoder's own.
        min_area: pictures of an unlocked tower are cropped at random to at least this share of their area; 1 never.
        flip: probability that such a picture is mirrored.
        workers: processes that prepare batches (threads that decode, while features are computed).
        pixels_gb: decoded pictures are kept when all of them take at most this much; else they are decoded at every visit.
    """

    picture_layers: int = 0
    text_layers: int = 0
    image_size: int = 0
    min_area: float = 0.8
    flip: float = 0.0
    workers: int = 2
    pixels_gb: float = 8.0


RATES = {"picture": 1e-4, "text": 1e-4, "heads": 3e-3, "fusion": 1e-2, "scales": 1e-2}


def learning_rates(given: dict[str, float]) -> dict[str, float]:
    """The rates of all parts: those given, the others by default; UserError names an unknown part."""
    unknown = sorted(set(given) - set(RATES))
    if unknown:
        raise UserError(f"learning rate of {unknown[0]!r}; allowed parts are {', '.join(RATES)}")
    return RATES | given
