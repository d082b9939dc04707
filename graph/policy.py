"""Who may read what of a taste graph: a YAML file of named purposes, carried by every graph that was built under it.

A graph holds people's tastes, so nothing of it is readable without a purpose. A purpose lists the edge types and fields
it may read, the smallest group of owners behind anything that leaves, and how long edges may be kept. Refusals are
errors of one line and, for a graph that was opened, a line in its audit log. The default policy is graph/policy.yaml.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph.audit import Entry, audit_path
from navigator.contracts import UserError
from navigator.contracts.manifest import digest, write_text

FILE = "policy.yaml"
DEFAULT = Path(__file__).with_name(FILE)
DAY = 86_400
UNKNOWN_TIME = -1

TypeName = Literal["holds", "saved", "has", "about", "follows", "co_saved"]
FieldName = Literal["time", "weight", "titles"]
_Positive = Annotated[int, Field(ge=1, strict=True)]
_WANTED = {
    "purposes": "a mapping of purposes", "edge_types": "a list of edge types", "fields": "a list of fields",
    "minimum_group_size": "a whole number from 1", "retention_days": "a whole number of days from 1, or null",
}  # fmt: skip


class Rules(BaseModel):
    """What one purpose may do; see graph/policy.yaml for the meaning of each key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edge_types: tuple[TypeName, ...]
    fields: tuple[FieldName, ...]
    minimum_group_size: _Positive
    retention_days: _Positive | None
    why: str = ""


class Purpose(Rules):
    """The rules of a named purpose, with what its refusals mention.

    Attributes:
        name: of the purpose.
        source: where the policy was read.
        policy: the policy's fingerprint.
        graph_path: a graph that was opened under the purpose; its audit log gets the refusals.
        others: what other purposes of the policy may read, for the next step that a refusal offers.
    """

    name: str
    source: str
    policy: str
    graph_path: Path | None = None
    others: dict[str, frozenset[str]] = {}

    def check_types(self, names: Iterable[str]) -> None:
        """Raises UserError for the first edge type (``rev_`` or not) that the purpose may not read."""
        for name in names:
            if name.removeprefix("rev_") not in self.edge_types:
                self._refuse(f"edge type {name!r}", name.removeprefix("rev_"), "edge types", self.edge_types)

    def check_field(self, name: str) -> None:
        """Raises UserError when the purpose may not read the field (time, weight or titles)."""
        if name not in self.fields:
            self._refuse(f"field {name!r}", name, "fields", self.fields)

    def large_enough(self, owners: np.ndarray) -> np.ndarray:
        """(n,) bool: which aggregates may leave, given how many distinct owners stand behind each."""
        return np.asarray(owners) >= self.minimum_group_size

    def check_group(self, owners: int, what: str) -> None:
        """Raises UserError when fewer than minimum_group_size distinct owners stand behind `what`."""
        if owners < self.minimum_group_size:
            self._raise(
                f"{what} comes from {owners:,} owners; purpose {self.name!r} of {self.source} lets nothing leave that "
                f"fewer than {self.minimum_group_size:,} stand behind; ask for a larger group"
            )

    def check_single_owners(self, what: str) -> None:
        """Raises UserError when `what`, which tells of single owners, may not leave: minimum_group_size is over 1."""
        if self.minimum_group_size > 1:
            self._raise(
                f"purpose {self.name!r} of {self.source} lets nothing leave that fewer than {self.minimum_group_size:,} "
                f"owners stand behind; {what} need a purpose with minimum_group_size 1"
            )

    def expired(self, time: np.ndarray, moment: int) -> np.ndarray:
        """(n,) bool: which edges a build at `moment` (seconds since 1970) leaves out.

        Under a limit an edge of unknown time (-1) goes too: nobody can show that it is young enough.
        """
        time = np.asarray(time)
        if self.retention_days is None:
            return np.zeros(len(time), bool)
        return (time == UNKNOWN_TIME) | (time < moment - self.retention_days * DAY)

    def _refuse(self, what: str, wanted: str, kind: str, allowed: tuple[str, ...]) -> NoReturn:
        able = [name for name, readable in self.others.items() if wanted in readable]
        self._raise(
            f"purpose {self.name!r} of {self.source} may not read {what}; its {kind}: {', '.join(allowed) or 'none'}; "
            + (
                f"purposes that may: {', '.join(able)}"
                if able
                else "no purpose of this policy may; it has to be changed"
            )
        )

    def _raise(self, message: str) -> NoReturn:
        if self.graph_path is not None:
            Entry("read", self.name, self.policy).write(audit_path(self.graph_path), "refused", message)
        raise UserError(message)


class Policy(BaseModel):
    """Purposes by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purposes: dict[str, Rules] = Field(min_length=1)
    _source: str = ""

    @property
    def fingerprint(self) -> str:
        return digest(self.model_dump(mode="json"))

    def purpose(self, name: str, graph_path: Path | None = None) -> Purpose:
        """The named purpose; with `graph_path` its refusals are written to that graph's audit log.

        Raises:
            UserError: the policy has no such purpose.
        """
        if name not in self.purposes:
            message = f"{self._source} has no purpose {name!r}; its purposes: {', '.join(self.purposes)}"
            if graph_path is not None:
                Entry("open", name, self.fingerprint).write(audit_path(graph_path), "refused", message)
            raise UserError(message)
        others: dict[str, frozenset[str]] = {
            other: frozenset((*rules.edge_types, *rules.fields))
            for other, rules in self.purposes.items()
            if other != name
        }
        return Purpose(
            **self.purposes[name].model_dump(), name=name, source=self._source, policy=self.fingerprint,
            graph_path=graph_path, others=others,
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write policy.yaml into a graph's work folder; the bytes depend on the rules alone."""
        write_text(folder / FILE, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))


def load_policy(path: Path | None = None) -> Policy:
    """Read a policy: a YAML file, or a graph folder that carries one; None is the default policy.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown or lacking, a value is not allowed, or a purpose
            demands a shorter retention than the build keeps to.
    """
    path = DEFAULT if path is None else Path(path)
    path = path / FILE if path.is_dir() else path
    source = "the default policy" if path == DEFAULT else f"policy {path}"
    try:
        policy = Policy.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"policy {path} does not exist; start from a copy of {DEFAULT}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"policy {path} is not YAML ({' '.join(str(error).split())}); compare {DEFAULT}") from error
    except ValidationError as error:
        raise UserError(f"policy {path}: {_first(error)}; compare {DEFAULT}") from error
    policy._source = source
    _check_retention(policy, source)
    return policy


def _check_retention(policy: Policy, source: str) -> None:
    """A graph is built once for all its readers: no purpose may need less than the build keeps."""
    if "build" not in policy.purposes:
        return
    kept = policy.purposes["build"].retention_days
    for name, rules in policy.purposes.items():
        if rules.retention_days is not None and (kept is None or kept > rules.retention_days):
            raise UserError(
                f"{source}: purposes.{name}.retention_days is {rules.retention_days}, but a build keeps edges "
                f"{'for ever' if kept is None else f'for {kept} days'}; give purposes.build.retention_days at most "
                f"{rules.retention_days}"
            )


def _first(error: ValidationError) -> str:
    """The first finding as `key is VALUE; allowed ...`."""
    found: dict[str, Any] = error.errors(include_url=False)[0]  # type: ignore[assignment]
    place = ".".join(str(step) for step in found["loc"]) or "the file"
    if found["type"] == "extra_forbidden":
        model = Policy if len(found["loc"]) == 1 else Rules
        return f"{place} is not a key; keys here: {', '.join(model.model_fields)}"
    if found["type"] == "missing":
        model = Policy if len(found["loc"]) == 1 else Rules
        return f"{place} is missing; keys here: {', '.join(model.model_fields)}"
    if found["type"] == "literal_error":
        allowed = get_args(TypeName if "edge_types" in found["loc"] else FieldName)
        return f"{place} is {found['input']!r}; allowed are {', '.join(allowed)}"
    wanted = _WANTED.get(str(found["loc"][-1]), "a mapping") if found["loc"] else "a mapping with the key purposes"
    return f"{place} is {str(found['input'])[:80]!r}; allowed is {wanted}"
