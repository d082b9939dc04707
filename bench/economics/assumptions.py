"""Every number that a cost figure hangs on: value, unit, meaning, source, date, and what is allowed.

The shipped file is assumptions.yaml beside this module; what a user gives replaces a value, never a unit. A name carries its
unit (requests_per_day), and a value outside of what is allowed is refused with that unit, so that per cent for a share or a
month for a day stops the command instead of shifting a decimal.
"""

import datetime
import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from navigator.contracts.errors import UserError

FILE = Path(__file__).with_name("assumptions.yaml")
GIVEN = "given with --assume"


class Assumption(BaseModel):
    """One input of the calculation.

    Attributes:
        value: null where it would have to be measured and was not.
        allowed: least and most; most null is no limit.
        vary: whether the sensitivity table halves and doubles it; `because` says why not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    unit: str
    allowed: tuple[float, float | None]
    what: str
    source: str
    as_of: datetime.date | None
    vary: bool = True
    because: str = ""

    def clip(self, value: float) -> float:
        """The nearest allowed value."""
        least, most = self.allowed
        return max(least, value if most is None else min(most, value))


Assumptions = dict[str, Assumption]


@cache
def shipped() -> Assumptions:
    """The file beside this module."""
    return {name: Assumption.model_validate(entry) for name, entry in yaml.safe_load(FILE.read_text()).items()}


def assumptions(given: Mapping[str, float]) -> Assumptions:
    """The shipped assumptions with the given values in place of theirs.

    Raises:
        UserError: an unknown name, or a value that its unit does not allow.
    """
    found = dict(shipped())
    for name, value in given.items():
        if name not in found:
            raise UserError(
                f"no assumption {name!r}{_near(name, found)}; `navigator-bench cost --list_assumptions` shows all"
            )
        check(name, found[name], value)
        found[name] = found[name].model_copy(update={"value": float(value), "source": GIVEN, "as_of": None})
    return found


def check(name: str, entry: Assumption, value: float) -> None:
    """Raises UserError: `value` is not allowed for `entry`."""
    least, most = entry.allowed
    if not (least <= value < float("inf")) or (most is not None and value > most):
        limits = f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
        per_cent = f"; {value:g} % is {value / 100:g}" if "share" in entry.unit and 1 < value <= 100 else ""
        raise UserError(f"{name} is {value:g} {entry.unit}; allowed are {limits}{per_cent}")


def _near(name: str, known: Assumptions) -> str:
    """What was probably meant: the same quantity in another unit of time, or a name that reads alike."""
    stem = name.rsplit("_per_", 1)[0]
    like = [other for other in known if "_per_" in name and other.rsplit("_per_", 1)[0] == stem]
    like = like or difflib.get_close_matches(name, known, 3)
    return f" (did you mean {', '.join(f'{other} ({known[other].unit})' for other in like)}?)" if like else ""
