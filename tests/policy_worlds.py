"""Policies that a test changes in one place."""

from pathlib import Path
from typing import Any

import yaml


def rules(**changes: Any) -> dict[str, Any]:
    plain = {"edge_types": ["holds"], "fields": ["time"], "minimum_group_size": 3, "retention_days": None}
    return {name: value for name, value in (plain | changes).items() if value != "absent"}


def policy_file(folder: Path, **purposes: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"purposes": purposes}, sort_keys=False))
    return path
