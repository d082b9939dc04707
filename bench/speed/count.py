"""What a request costs on paper: multiplications and additions, and bytes that must move, by stage.

FLOPs are those of matrix products: 2 a weight and token, 4 a head dimension and pair of tokens that see each other. Causal
attention counts the pairs that are seen. Bytes are the least that a stage must move: every weight once a pass, the tower's
input, keys and values written and read back; activations are left out, since kernels may keep them on the chip. A test holds
the FLOPs against torch's FlopCounterMode.
"""

from dataclasses import dataclass

from bench.speed.options import Point
from bench.speed.ways import Way
from navigator.shapes import Shape

PATCH = 16
PATCH_INPUT = 3 * 2 * PATCH * PATCH  # channels x 2 frames (a still picture twice) x 16 x 16
POSITIONS = 48 * 48  # learned positions of the vision tower


@dataclass(frozen=True)
class Cost:
    """Of one stage."""

    flops: float
    bytes: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def tower_weights(shape: Shape, way: Way, dim: int) -> int:
    """Weights in the tower's place; none where features are stored."""
    levels, hidden = 1 + len(shape.deepstack), shape.hidden_size
    if way.shows == "features":
        return 0
    if way.shows == "vectors":
        return (dim + 1) * hidden + levels * (hidden + 1) * way.k * hidden
    eyes, wide = shape.vision, 4 * shape.vision.hidden_size
    layer = 4 * eyes.hidden_size**2 + 2 * eyes.hidden_size * eyes.intermediate_size
    small = eyes.depth * (9 * eyes.hidden_size + eyes.intermediate_size)  # biases and norms
    mergers = levels * (wide * wide + wide * hidden + wide + hidden)
    norms = 2 * (eyes.hidden_size + (levels - 1) * wide)
    first = PATCH_INPUT * eyes.hidden_size + eyes.hidden_size + POSITIONS * eyes.hidden_size
    return eyes.depth * layer + small + mergers + norms + first


def tower(shape: Shape, way: Way, point: Point, dim: int, width: int) -> Cost:
    """The tower's place, `width` bytes a number."""
    items, levels, hidden = way.shown(point), 1 + len(shape.deepstack), shape.hidden_size
    weights = tower_weights(shape, way, dim) * width
    if way.shows == "features":
        return Cost(0, items * way.tokens_an_item(point) * levels * hidden * width)
    if way.shows == "vectors":
        return Cost(2 * items * hidden * (dim + levels * way.k * hidden), weights + items * dim * width)
    side = way.side_at(point) or 0
    eyes, patches, wide = shape.vision, (side // PATCH) ** 2, 4 * shape.vision.hidden_size
    layer = 2 * (4 * eyes.hidden_size**2 + 2 * eyes.hidden_size * eyes.intermediate_size)
    pairs = 4 * eyes.hidden_size * patches
    linear = PATCH_INPUT * 2 * eyes.hidden_size + eyes.depth * (layer + pairs)  # a patch
    mergers = patches // 4 * levels * 2 * (wide * wide + wide * hidden)
    return Cost(items * (patches * linear + mergers), weights + items * patches * PATCH_INPUT * width)


def layer_weights(shape: Shape) -> int:
    """Weights of one language layer, norms included."""
    asked, kept = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    products = shape.hidden_size * (2 * asked + 2 * kept + 3 * shape.intermediate_size)
    return products + 2 * shape.hidden_size + 2 * shape.head_dim


def pass_weights(shape: Shape) -> int:
    """Weights that every pass of the language model reads: its layers, the last norm and the head."""
    return shape.num_hidden_layers * layer_weights(shape) + shape.hidden_size * (shape.vocab_size + 1)


def reading(shape: Shape, new: int, past: int, width: int) -> Cost:
    """One pass over `new` tokens after `past` kept ones, and the head at the last."""
    asked, norms = shape.num_attention_heads * shape.head_dim, 2 * shape.hidden_size + 2 * shape.head_dim
    pairs = new * past + new * (new + 1) // 2
    layer = 2 * new * (layer_weights(shape) - norms) + 4 * asked * pairs
    kept = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * (past + new)
    flops = shape.num_hidden_layers * layer + 2 * shape.hidden_size * shape.vocab_size
    return Cost(flops, width * (pass_weights(shape) + new * shape.hidden_size + kept))


def request(shape: Shape, way: Way, point: Point, dim: int, width: int) -> dict[str, Cost]:
    """Stage -> cost of one request: the tower's place, prefill (without it) and decode (the tokens after the first)."""
    new, past = way.read(point), way.kept(point)
    steps = [reading(shape, 1, past + new + step, width) for step in range(point.generated - 1)]
    return {
        "tower": tower(shape, way, point, dim, width), "prefill": reading(shape, new, past, width),
        "decode": sum(steps, Cost(0, 0)),
    }  # fmt: skip


def weight_floor_bytes(shape: Shape, way: Way, point: Point, dim: int, width: int) -> int:
    """Weights alone: the tower's place once, the language model once for every token that is written."""
    return width * (tower_weights(shape, way, dim) + point.generated * pass_weights(shape))
