"""The rules of a cut-over: a YAML file that maps a measured value to what is allowed and why.

overlap@10:
  at_least: 0.3          # or at_most, or both
  optional: false        # true: the gate may open when the value could not be measured
  reason: below it nobody recognises what they see
"""

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from bench.shadow.measured import Measured, names
from navigator.contracts import UserError
from navigator.contracts.manifest import file_digest
from navigator.contracts.shadow import RuleResult, ShadowRule

_KEYS = ", ".join(ShadowRule.model_fields)


@dataclass(frozen=True)
class Thresholds:
    """Rules by the name of the value, and SHA-256 of the file they were read from."""

    rules: dict[str, ShadowRule]
    digest: str

    def judge(self, values: Measured) -> list[RuleResult]:
        """Every rule with what was measured."""
        return [
            RuleResult(metric=name, value=values[name], verdict=rule.outcome(values[name]), **dict(rule))
            for name, rule in self.rules.items()
        ]


def load_thresholds(path: Path) -> Thresholds:
    """Read and check the rules.

    Raises:
        UserError: no such file, not YAML, no rule in it, an unknown value or key, a rule without a limit or a reason.
    """
    if not path.is_file():
        raise UserError(f"thresholds {path} do not exist; start from a copy of configs/shadow/default.yaml")
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"thresholds {path} are not YAML ({' '.join(str(error).split())[:160]})") from error
    if not isinstance(found, dict) or not found:
        raise UserError(f"thresholds {path} hold no rules, and a gate without rules would let everything through")
    allowed = names()
    unknown = next((name for name in found if name not in allowed), None)
    if unknown is not None:
        raise UserError(f"thresholds {path}: {unknown} is not a measured value; allowed are {', '.join(allowed)}")
    return Thresholds({name: _rule(path, name, own) for name, own in found.items()}, file_digest(path))


def _rule(path: Path, name: str, given: object) -> ShadowRule:
    try:
        rule = ShadowRule.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([name, *map(str, first["loc"])])
        what = f"{place} is {str(first['input'])[:60]!r}: {first['msg']}"
        if first["type"] in ("extra_forbidden", "missing"):
            what = f"{place} is {'missing' if first['type'] == 'missing' else 'not a key'}"
        raise UserError(f"thresholds {path}: {what}; keys of a rule: {_KEYS}") from error
    if rule.at_least is None and rule.at_most is None:
        raise UserError(f"thresholds {path}: {name} has no limit; give at_least or at_most")
    if rule.at_least is not None and rule.at_most is not None and rule.at_least > rule.at_most:
        raise UserError(
            f"thresholds {path}: {name} allows nothing: at_least {rule.at_least} is above at_most {rule.at_most}"
        )
    return rule
