"""What `navigator-bench shadow` decides: whether the new side may take the old one's place, and by which rules.

Whatever lets a new encoder or model go live reads the verdict here and needs no bench for it. A verdict speaks for the
fingerprints it names and for nothing else.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from navigator.contracts.errors import UserError
from navigator.contracts.manifest import content_fingerprint, read_manifest

KIND = "shadow-report"
SCHEMA_VERSION: Literal[1] = 1
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ShadowRule(_Row):
    """A threshold on one measured value.

    Attributes:
        at_least, at_most: the ends of what is allowed, both included; one of them or both.
        reason: why there.
        optional: whether the gate may open when the value could not be measured.
    """

    at_least: Limit | None = None
    at_most: Limit | None = None
    reason: Annotated[str, Field(min_length=1)]
    optional: Annotated[bool, Field(strict=True)] = False

    def outcome(self, value: float | None) -> Literal["pass", "fail", "not measured"]:
        """How a value stands to the threshold; None was not measured."""
        if value is None:
            return "not measured"
        low = self.at_least is not None and value < self.at_least
        high = self.at_most is not None and value > self.at_most
        return "fail" if low or high else "pass"


class RuleResult(ShadowRule):
    """A rule and what came of it: `value` is what was measured, null for nothing."""

    metric: str
    value: float | None
    verdict: Literal["pass", "fail", "not measured"]

    @property
    def stops(self) -> bool:
        """Whether the gate stays shut because of this rule."""
        return self.verdict == "fail" or (self.verdict == "not measured" and not self.optional)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.verdict != self.outcome(self.value):
            raise ValueError(f"{self.metric} is {self.value} and said to be a {self.verdict}")
        return self


class ShadowSide(_Row):
    """One of the two that were asked.

    Attributes:
        source: as it was named on the command line.
        fingerprints: part (vectors, model, encoder) -> fingerprint.
    """

    source: str
    fingerprints: dict[str, str]


class ShadowVerdict(_Row):
    """The verdict of one shadow run.

    Attributes:
        verdict: pass where there are rules and none of them stops.
        old, new: what was compared.
        requests: how many requests both were asked; `traffic`: digest of them.
        thresholds: SHA-256 of the thresholds file.
        rules: every rule of that file, in its order.
        created_at: ISO time.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    verdict: Literal["pass", "fail"]
    old: ShadowSide
    new: ShadowSide
    requests: int
    traffic: str
    thresholds: str
    rules: list[RuleResult]
    created_at: str

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.verdict != gate(self.rules):
            raise ValueError(f"the verdict is {self.verdict}, but its rules say {gate(self.rules)}")
        return self


def gate(rules: list[RuleResult]) -> Literal["pass", "fail"]:
    """pass where no rule stops; no rules let nothing through."""
    return "pass" if rules and not any(rule.stops for rule in rules) else "fail"


class _Holder(BaseModel):
    """report.json seen from here: the verdict alone."""

    verdict: ShadowVerdict


def read_verdict(folder: str | Path) -> ShadowVerdict:
    """The verdict of a shadow report folder.

    Raises:
        UserError: no complete report there, files changed after it was written, another schema, or a verdict that its own
            values and thresholds contradict.
    """
    folder = Path(folder)
    made_by = f"navigator-bench shadow ... --out {folder}"
    manifest = read_manifest(folder, KIND, made_by)
    if content_fingerprint(folder, KIND) != manifest.fingerprint:
        raise UserError(f"shadow report {folder} was changed after it was written; make it again with `{made_by}`")
    path = folder / "report.json"
    try:
        return _Holder.model_validate_json(path.read_text()).verdict
    except (FileNotFoundError, ValidationError) as error:
        raise UserError(
            f"{path} holds no shadow verdict of schema {SCHEMA_VERSION}; make it again with `{made_by}`"
        ) from error
