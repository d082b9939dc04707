"""Catalogue items as requests show them: text and picture, read once however many requests show them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bench.frontier.picture import Picture
from bench.frontier.request import Shown
from navigator.contracts.catalog import Catalog


@dataclass
class Items:
    """Items by catalogue index.

    Attributes:
        px: pictures are fitted into px x px; None shows none.
        unreadable: ids of items whose picture is none, shown by text alone.
        bare: ids of items with neither text nor picture, shown as an empty text.
    """

    catalog: Catalog
    px: int | None
    unreadable: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)
    _shown: dict[int, Shown] = field(default_factory=dict, repr=False)

    @cached_property
    def _texts(self) -> list[str]:
        return self.catalog.table("items", ["text"])["text"].to_pylist()

    def read(self, indices: Sequence[int]) -> None:
        """Read the items that were not read before, in one go."""
        new = [i for i in dict.fromkeys(indices) if i not in self._shown]
        ids = [self.catalog.item_ids[i] for i in new]
        bytes_of = self.catalog.images(ids) if self.px is not None and ids else {}
        for index, item_id in zip(new, ids, strict=True):
            source, text = bytes_of.get(item_id), self._texts[index] or ""
            picture = Picture.fit(source, self.px) if source and self.px is not None else None
            if source and picture is None:
                self.unreadable.add(item_id)
            if picture is None and not text.strip():
                self.bare.add(item_id)
            self._shown[index] = Shown(text, picture)

    def show(self, indices: Sequence[int]) -> list[Shown]:
        """The items in this order."""
        self.read(indices)
        return [self._shown[i] for i in indices]
