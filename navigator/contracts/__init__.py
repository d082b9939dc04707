"""The seams between the parts: typed, validated, free of torch."""

from navigator.contracts.catalog import Catalog
from navigator.contracts.errors import UnknownNameError, UserError
from navigator.contracts.manifest import Manifest, is_current, publish, read_manifest
from navigator.contracts.vectors import ItemVectors

__all__ = [
    "Catalog",
    "ItemVectors",
    "Manifest",
    "UnknownNameError",
    "UserError",
    "is_current",
    "publish",
    "read_manifest",
]
