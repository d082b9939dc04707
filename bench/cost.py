"""What 1,000 requests cost, and every assumption behind the figure.

Our own systems: machine price an hour / requests an hour of one busy worker. Frontier models: tokens x list price;
picture tokens by the vendor's rule. Prices are dated data (bench/prices.json), not code.
"""

from bench.prices import Machine, ModelPrice, load_prices, model_price


def frontier_tokens(price: ModelPrice, n_history: int, n_candidates: int) -> tuple[int, int]:
    """Tokens in and out of one request: a picture and a title an item, an instruction, a ranking as answer."""
    shape = load_prices().request
    per_item = price.picture.tokens(shape.picture_px, shape.picture_px) + shape.text_tokens_per_item
    return (n_history + n_candidates) * per_item + shape.instruction_tokens, (
        n_candidates * shape.answer_tokens_per_candidate
    )


def frontier_cost(name: str, n_history: int, n_candidates: int) -> tuple[float, list[str], int]:
    """US$ per 1,000 requests to a frontier model, the assumptions behind it, and its tokens a request (in + out)."""
    price, prices = model_price(name), load_prices()
    tokens_in, tokens_out = frontier_tokens(price, n_history, n_candidates)
    usd = price.usd(tokens_in, tokens_out) * 1000
    shape = prices.request
    assumptions = [
        prices.words(price),
        f"{n_history} history + {n_candidates} candidate pictures of {shape.picture_px} px at "
        f"{price.picture.tokens(shape.picture_px, shape.picture_px)} tokens, {price.picture.words()}; "
        f"{shape.text_tokens_per_item} tokens of title an item, {shape.instruction_tokens} of instruction",
        f"{tokens_out} answer tokens, no reasoning tokens: a lower bound",
    ]
    return usd, assumptions, tokens_in + tokens_out


def usd_per_piece(usd_per_hour: float, per_second: float) -> float:
    """US$ for one request (or item) on a machine that does nothing else, `per_second` of them."""
    return usd_per_hour / 3600 / per_second


def machine_cost(throughput_rps: float | None, machine: Machine) -> tuple[float | None, list[str]]:
    """US$ per 1,000 requests on an own machine and the assumptions; None where no throughput was measured."""
    if not throughput_rps:
        return None, []
    return usd_per_piece(machine.usd_per_hour, throughput_rps) * 1000, [
        f"machine at US$ {machine.usd_per_hour:g} an hour ({machine.what})",
        "one closed-loop worker, busy all the time; no batching, no idle hours",
        "item vectors, graph and index are computed beforehand and not counted here; `navigator-bench cost` counts them",
    ]
