"""The command `navigator-bench latency`: one request at the size of a published model, six ways to show it the items."""

from pathlib import Path
from typing import Any

from bench.speed.options import PIXELS_A_TOKEN, Attention, Dtype, Options
from navigator.contracts.errors import UserError

NAMES = ("native", "native-features", "native-224", "swapped-4", "swapped", "swapped-prefix")  # see bench.speed.ways


def latency(
    shape: list[str],
    out: Path = Path("runs/latency"),
    histories: list[int] | None = None,
    candidates: list[int] | None = None,
    sides: list[int] | None = None,
    text: int = 64,
    generated: int = 1,
    cross: bool = False,
    ways: list[str] | None = None,
    dim: int = 512,
    repeats: int = 30,
    warm_up: int = 3,
    seconds: float = 120.0,
    batches: list[int] | None = None,
    batch_seconds: float = 30.0,
    dtype: Dtype = "bfloat16",
    device: str = "auto",
    attention: Attention = "sdpa",
    cuda_graphs: bool = False,
    compile: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Time one request at the size of a published model, pictures through its own vision tower against one vector an item.

    Args:
        shape: qwen3-vl-2b, qwen3-vl-4b, qwen3-vl-8b, or several with commas; built with random weights, nothing is
            downloaded. qwen3-vl-2b:2 has two language layers and as large a share of its vision layers.
        out: report folder to write.
        histories: history items of a request; the first value is the base of the grid, 20 by default.
        candidates: candidate items of a request, likewise 20.
        sides: side of the square pictures in pixels, multiples of 32, likewise 448.
        text: text tokens of a request, half before the items and half after.
        generated: tokens written, the first one included.
        cross: measure every combination of the three lists; else one list at a time varies, the others at their first.
        ways: of native, native-features, native-224, swapped-4, swapped, swapped-prefix; all by default.
        dim: size of an item vector.
        repeats: requests measured of every way at every point.
        warm_up: requests before them that are not recorded.
        seconds: after so many seconds at a point no new round begins (three are always measured).
        batches: requests at once when the most requests a second are looked for; default 2,4,8,16,32,64,128,256,512,
            [] measures no batches.
        batch_seconds: a batch that would take longer to measure is not run, and the report says so.
        dtype: bfloat16, float16 or float32.
        device: auto, cpu, cuda or cuda:N.
        attention: sdpa, eager or flash_attention_2 (needs flash-attn).
        cuda_graphs: replay each step as a CUDA graph.
        compile: torch.compile for feed-forwards and norms of both towers.
        seed: of weights and requests.

    Returns:
        Where the report is, the verdicts, and the tables of the base points as text.

    Raises:
        UserError: an unknown shape or way, a number out of range, or a flag that this machine cannot follow.
    """
    sizes = [2, 4, 8, 16, 32, 64, 128, 256, 512] if batches is None else batches
    options = Options(
        list(dict.fromkeys(shape)), out, _values(histories, 20), _values(candidates, 20), _values(sides, 448), text, generated,
        cross, list(dict.fromkeys(NAMES if ways is None else ways)), dim, repeats, warm_up, seconds, sizes, batch_seconds,
        dtype, device, attention, cuda_graphs, compile, seed,
    )  # fmt: skip
    _check(options)
    from navigator.shapes import named_shape

    for name in options.shape:
        named_shape(name)
    from bench.speed.run import measure_latency

    return measure_latency(options)


def _values(given: list[int] | None, base: int) -> list[int]:
    return [base] if given is None else list(dict.fromkeys(given))


def _check(options: Options) -> None:
    unknown = next((name for name in options.ways if name not in NAMES), None)
    if unknown is not None:
        raise UserError(f"unknown way {unknown!r}; allowed are {', '.join(NAMES)}")
    empty = next((n for n in ("shape", "histories", "candidates", "sides", "ways") if not getattr(options, n)), None)
    if empty is not None:
        raise UserError(f"{empty} is empty; give at least one value")
    odd = next((side for side in options.sides if side < PIXELS_A_TOKEN or side % PIXELS_A_TOKEN), None)
    if odd is not None:
        raise UserError(f"side {odd}: pictures are cut into squares of {PIXELS_A_TOKEN} pixels; give multiples of that")
    least = {"text": 2, "generated": 1, "dim": 1, "repeats": 1, "warm_up": 0, "seconds": 0, "batch_seconds": 0}
    low = next((name for name, limit in least.items() if getattr(options, name) < limit), None)
    if low is not None:
        raise UserError(f"{low} is {getattr(options, low)}; allowed are numbers from {least[low]}")
    if min(options.histories) < 1 or min(options.candidates) < 1:
        raise UserError(f"histories {options.histories}, candidates {options.candidates}: allowed are numbers from 1")
    if options.batches != sorted(set(options.batches)) or (options.batches and options.batches[0] < 2):
        raise UserError(
            f"batches {options.batches}: allowed are ascending numbers from 2 (1 is what the rounds measure)"
        )
