"""What a system costs a month, as a function of how much it is asked: some of it fixed, some by the request, some by machines.

All quantities are a month (365.25 / 12 days) and US$. Rates that people give a day or a year become monthly here and
nowhere else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.cost import frontier_cost, usd_per_piece
from bench.economics.speeds import Device

DAYS = 365.25 / 12  # in a month
HOURS = 24 * DAYS

SERVING, TRAINING, EMBEDDING, REFRESH = "serving", "training", "embedding", "refresh"
INDEX, STORAGE, TOKENS = "index memory", "vector storage", "tokens"
COMPONENTS: tuple[str, ...] = (SERVING, TOKENS, EMBEDDING, REFRESH, INDEX, STORAGE, TRAINING)

Capacity = Literal["fractional", "whole"]
Own = Literal["ours", "native"]
Part = Literal["ours", "native", "embedding"]  # what is measured


@dataclass(frozen=True)
class Scene:
    """All inputs by name.

    Attributes:
        values: the assumptions, and the measured `ours_rps`, `native_rps` and `items_embedded_per_s`, which may be None.
        devices: what ours, native and the embedding were measured on, and are paid for.
    """

    values: Mapping[str, float | None]
    devices: Mapping[Part, Device]

    def known(self, name: str) -> float:
        """An assumption; only what is measured may be null."""
        value = self.values[name]
        assert value is not None, name
        return value

    def hourly(self, what: Part) -> float:
        """US$ an hour for one machine (one GPU) of its device."""
        return self.known("usd_per_gpu_hour" if self.devices[what] == "cuda" else "usd_per_cpu_hour")


@dataclass(frozen=True)
class Machines:
    """Machines that are there whether asked or not, bought in whole ones.

    Attributes:
        usd: a month, each.
        requests: mean requests a month that one is planned for.
        saturated: requests a month that one could answer at most.
        least: kept running at any demand.
    """

    usd: float
    requests: float
    saturated: float
    least: int

    def count(self, requests: float) -> int:
        """Needed for this many requests a month."""
        return max(self.least, math.ceil(requests / self.requests - 1e-9))


@dataclass(frozen=True)
class CostLine:
    """A system's monthly cost; a component that is None is unknown, and so is then the total.

    Attributes:
        fixed: component -> US$ a month at any demand.
        per_request: component -> US$ a request.
        machines: None where nothing is bought in whole machines.
    """

    fixed: Mapping[str, float | None] = field(default_factory=dict)
    per_request: Mapping[str, float | None] = field(default_factory=dict)
    machines: Machines | None = None

    def monthly(self, requests: float) -> dict[str, float | None]:
        """Component -> US$ a month at so many requests a month."""
        found = {name: None if usd is None else usd * requests for name, usd in self.per_request.items()}
        if self.machines is not None:
            found[SERVING] = self.machines.usd * self.machines.count(requests)
        return found | dict(self.fixed)

    def total(self, requests: float) -> float | None:
        """US$ a month; None where a component is unknown."""
        parts = list(self.monthly(requests).values())
        return None if None in parts else sum(part for part in parts if part is not None)


def per_1000(usd_month: float | None, requests: float) -> float | None:
    """US$ per 1,000 requests."""
    return None if usd_month is None else usd_month / requests * 1000


def own(scene: Scene, capacity: Capacity, name: Own) -> CostLine:
    """A system on own machines: ours, which reads vectors, or the native one, which reads pictures.

    Args:
        scene: the inputs.
        capacity: whole machines planned for the busiest time, or machine time by the request.
        name: which.
    """
    device = scene.devices[name]
    rps, hourly = scene.values[f"{name}_rps"], scene.hourly(name)
    hours = scene.known("training_hours" if name == "ours" else "native_training_hours")
    share = 1.0 if name == "ours" else scene.known("rivals_need_vectors")
    fixed = {TRAINING: hours * hourly / scene.known("training_months")} | vectors(scene, share)
    if rps is None:
        return CostLine(fixed, {SERVING: None})
    if capacity == "fractional":
        return CostLine(fixed, {SERVING: usd_per_piece(hourly, rps * scene.known("utilisation"))})
    units = scene.known("gpus_per_machine") if device == "cuda" else 1.0
    most = rps * units * 3600 * HOURS
    planned = most * scene.known("load_at_peak") / scene.known("peak_factor")
    return CostLine(fixed, {}, Machines(hourly * units * HOURS, planned, most, math.ceil(scene.known("replicas"))))


def hosted(scene: Scene, capacity: Capacity, model: str) -> CostLine:
    """A model that is paid by the token, whatever the capacity."""
    usd_per_1000 = frontier_cost(model, int(scene.known("history_items")), int(scene.known("candidate_items")))[0]
    tokens = usd_per_1000 / 1000 * scene.known("hosted_price_factor")
    return CostLine(vectors(scene, scene.known("rivals_need_vectors")), {TOKENS: tokens})


def vectors(scene: Scene, share: float) -> dict[str, float | None]:
    """Component -> US$ a month for `share` of what item vectors cost: made, made again, held in memory and on disk."""
    if not share:
        return {}
    items, rate = scene.known("catalogue_items"), scene.values["items_embedded_per_s"]
    each = None if rate is None else usd_per_piece(scene.hourly("embedding"), rate)
    first = items / scene.known("first_embedding_months") + items * scene.known("new_share_per_day") * DAYS
    again = items * (scene.known("refresh_share_per_day") * DAYS + scene.known("encoder_releases_per_year") / 12)
    gigabytes = items * scene.known("vector_dim") * scene.known("bytes_per_value") / 1e9
    in_memory = gigabytes * scene.known("index_overhead") * math.ceil(scene.known("replicas"))
    on_disk = gigabytes * scene.known("store_versions")
    return {
        EMBEDDING: None if each is None else share * first * each,
        REFRESH: None if each is None else share * again * each,
        INDEX: share * in_memory * scene.known("usd_per_ram_gb_month"),
        STORAGE: share * on_disk * scene.known("usd_per_stored_gb_month"),
    }
