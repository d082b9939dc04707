"""What `navigator-bench graph scale` reports: report.json, versioned."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1


class Size(BaseModel):
    """One synthetic graph.

    Attributes:
        saves: rows of the catalogue; `edges`: training saves that are edges of the relation saved.
        build_s: wall seconds of the build command; `build_peak_mb`: its largest resident set, MiB.
        csr_bytes, graph_bytes: on disk, the CSR files alone and the whole folder; both also by edge.
        open_ms: median of `open_ms_runs`.
        samples_per_s: threads -> seed items walked from in a second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    saves: int
    items: int
    users: int
    edges: int
    catalog_bytes: int
    build_s: float
    build_peak_mb: float
    csr_bytes: int
    graph_bytes: int
    csr_bytes_per_edge: float
    graph_bytes_per_edge: float
    open_ms: float
    open_ms_runs: list[float]
    samples_per_s: dict[int, float]


class ScaleReport(Provenance):
    """All sizes, and how the figures grow: "build_s 1000000 to 10000000" -> exponent."""

    schema_version: Literal[1] = SCHEMA_VERSION
    sizes: list[Size]
    growth: dict[str, float]
