"""What the server tells Prometheus. Each app has its own registry, so that several can live in one process."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Telemetry:
    """Counters and histograms of one server.

    Args:
        usd_per_hour: price of the machine; None: no cost is told, rather than a cost of 0.
    """

    def __init__(self, usd_per_hour: float | None = None):
        self.registry, self.usd_per_hour = CollectorRegistry(), usd_per_hour
        ProcessCollector(registry=self.registry)  # CPU seconds, memory, open files
        self._requests = self._counter("requests", "Requests answered", "endpoint", "status")
        self._seconds = self._histogram(
            "request_seconds", "Seconds from the request's arrival to its answer", "endpoint"
        )
        self._stages = self._histogram(
            "stage_seconds",
            "Seconds a request spent in a stage: queue, encode, retrieve, rank, ...",
            "endpoint",
            "stage",
        )
        self._batches = Histogram(
            "navigator_batch_size", "Requests of a batch", ["kind"], buckets=_SIZES, registry=self.registry
        )
        self._refused = self._counter("refused", "Requests refused, by code", "code")
        self._tokens = self._counter("tokens", "Tokens of conversations", "kind")
        self._chat = self._counter("chat", "What became of the assistant's turns", "outcome")
        self._switches = self._counter(
            "release_switches", "Releases that went live, and attempts that failed", "outcome"
        )
        self._work = self._counter("work_seconds", "Seconds that a worker was busy", "kind")
        self._cost = self._counter("cost_usd", "US dollars of the machine for this work, by its price an hour", "kind")
        self._release = Gauge("navigator_release_info", "The release that answers", ["release"], registry=self.registry)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def stages(self, endpoint: str, spent_ms: dict[str, float]) -> None:
        for name, spent in spent_ms.items():
            self._stages.labels(endpoint, name).observe(spent / 1000)

    def batch(self, kind: str) -> Callable[[int, float], None]:
        """What a batcher of this kind calls with the size and the seconds of a batch."""

        def observe(size: int, seconds: float) -> None:
            self._batches.labels(kind).observe(size)
            self.worked(kind, seconds)

        return observe

    def worked(self, kind: str, seconds: float) -> None:
        self._work.labels(kind).inc(seconds)
        if self.usd_per_hour is not None:
            self._cost.labels(kind).inc(seconds * self.usd_per_hour / 3600)

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def tokens(self, prompt: int, completion: int) -> None:
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)

    def chat(self, outcome: str, times: int = 1) -> None:
        self._chat.labels(outcome).inc(times)

    def switched(self, release: str | None) -> None:
        """A release went live; None: one could not be opened."""
        self._switches.labels("done" if release else "failed").inc()
        if release:
            self._release.clear()
            self._release.labels(release).set(1)

    def watch_depth(self, depths: Callable[[], dict[str, int]]) -> None:
        """Queue lengths are asked for when Prometheus asks."""
        gauge = Gauge("navigator_queue_depth", "Requests that wait", ["kind"], registry=self.registry)
        for kind in depths():
            gauge.labels(kind).set_function(lambda kind=kind: depths()[kind])

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"navigator_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, *labels: str) -> Histogram:
        return Histogram(f"navigator_{name}", what, labels, buckets=_SECONDS, registry=self.registry)
