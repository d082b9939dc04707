"""Words and items to model inputs: chat messages with {"type": "item", "item": ID}, and compact retrieval requests.

An item becomes k placeholder tokens in the text and one row of `pixel_values`. A picture that is not in the catalogue goes
through the encoder first and then takes the same road. The catalogue is not part of the processor's folder: attach the
item vectors after loading (`processor.attach(ItemVectors.open(...))`), which checks that the encoder is the right one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, BatchFeature
from transformers.processing_utils import ProcessorMixin

from navigator.contracts import ItemVectors, UserError
from navigator.contracts.vectors import as_stored
from navigator.layout import LAYOUT
from navigator.model import KINDS
from navigator.packing import Request, Vocabulary, pack
from navigator.prompts import CHAT_TEMPLATE, RETRIEVE_TOKEN, request_words

PictureEncoder = Callable[[list[Any]], np.ndarray]


class NavigatorProcessor(ProcessorMixin):
    """Tokenizer + item placeholders; saved and loaded by AutoProcessor.

    Args:
        tokenizer: the backbone's tokenizer with the item and retrieve tokens.
        tokens_per_item: k.
        dim: D of the item vectors.
        encoder: fingerprint of the vectors the tower was made for.
        item_token: the placeholder (the backbone's image placeholder).
        chat_template: Jinja; the default is ChatML with items.
    """

    attributes = ["tokenizer"]  # noqa: RUF012 - the name and type are Transformers'
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self, tokenizer: Any = None, tokens_per_item: int = 1, dim: int = 0, encoder: str = "",
        item_token: str = "<|image_pad|>", chat_template: str | None = None, **_: Any,
    ):  # fmt: skip
        self.tokens_per_item, self.dim, self.encoder, self.item_token = tokens_per_item, dim, encoder, item_token
        super().__init__(tokenizer, chat_template=chat_template or CHAT_TEMPLATE)
        self._vectors: ItemVectors | None = None
        self._encode_pictures: PictureEncoder | None = None
        self.item_token_id: int = tokenizer.convert_tokens_to_ids(item_token)
        self.retrieve_token_id: int = tokenizer.convert_tokens_to_ids(RETRIEVE_TOKEN)

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Only what __init__ takes; what was attached stays out of the saved file."""
        saved = super().to_dict(*args, **kwargs)
        return {key: value for key, value in saved.items() if not key.startswith("_")}

    def attach(self, vectors: ItemVectors, encode_pictures: PictureEncoder | None = None) -> "NavigatorProcessor":
        """Give the processor its catalogue, and optionally an encoder for new pictures: pictures -> (n, E).

        Of the E dimensions those are read that the vectors keep (a Matryoshka prefix of the encoder's).

        Raises:
            UserError: vectors of another encoder or size than the tower was made for; both fingerprints are named.
        """
        if (vectors.encoder, vectors.dim) != (self.encoder, self.dim):
            raise UserError(
                f"these vectors come from encoder {vectors.encoder} ({vectors.dim} dims), but the model was swapped for "
                f"{self.encoder} ({self.dim} dims); give the vectors it was swapped for (embedded, refined and learned "
                "ones are different stores), or swap and train again"
            )
        self._vectors, self._encode_pictures = vectors, encode_pictures
        return self

    def __call__(
        self, text: str | Sequence[str], items: np.ndarray | Sequence[str] | None = None, **_: Any
    ) -> BatchFeature:
        """Tokenize texts whose `item_token`s stand for `items`, in reading order over the whole batch.

        Args:
            text: one text or B texts, one placeholder an item.
            items: (n, D) vectors, or n external ids of the attached catalogue.

        Returns:
            input_ids, attention_mask, mm_token_type_ids (B, L), left-padded; with items also pixel_values (n, D) and
            image_grid_thw (n, 3).

        Raises:
            UserError: the number of placeholders and of items differ (both are named), or an id is unknown.
        """
        texts = [text] if isinstance(text, str) else list(text)
        vectors = self._as_vectors(items)
        placeholders = sum(t.count(self.item_token) for t in texts)
        if placeholders != len(vectors):
            raise UserError(f"the text has {placeholders} item placeholders, but {len(vectors)} items were given")
        expanded = [t.replace(self.item_token, self.item_token * self.tokens_per_item) for t in texts]
        rows = self.tokenizer(expanded, add_special_tokens=False)["input_ids"]
        inputs = self.pad(rows)
        if len(vectors):
            inputs["pixel_values"] = torch.from_numpy(np.ascontiguousarray(vectors))
            inputs["image_grid_thw"] = self.grid(len(vectors))
        return BatchFeature(inputs)

    def apply_chat_template(  # type: ignore[override]
        self, conversation: list[dict[str, Any]], add_generation_prompt: bool = False, tokenize: bool = False, **_: Any
    ) -> str | BatchFeature:
        """Render one conversation; with `tokenize`, also resolve its items and pictures to vectors."""
        text = self.tokenizer.apply_chat_template(
            conversation, chat_template=self.chat_template, tokenize=False,
            add_generation_prompt=add_generation_prompt, item_token=self.item_token,
        )  # fmt: skip
        if not tokenize:
            return text
        parts = [p for m in conversation if not isinstance(m["content"], str) for p in m["content"]]
        seen = [self._part_vector(part) for part in parts if part["type"] in ("item", "image")]
        return self(text, np.stack(seen) if seen else None)

    def requests(
        self, counts: Sequence[int], titles: Sequence[str] | None = None, candidates: int = 0
    ) -> dict[str, torch.Tensor]:
        """Retrieval prompts, one a row: ``[Board: TITLE] Saved:`` + items + the retrieve token [+ candidate placeholders].

        Args:
            counts: history items of each request.
            titles: board titles to be read, "" for none.
            candidates: placeholders after the retrieve token, for `Swapped.rank`.

        Returns:
            input_ids, attention_mask, mm_token_type_ids (B, L) and image_grid_thw (sum(counts) + B * candidates, 3); with
            candidates also the layout. Without, the rows are plain causal ones, which any attention kernel reads.
        """
        words = [self.words(title) for title in (titles or [""] * len(counts))]
        asked = [Request(w, count, (count,), candidates) for w, count in zip(words, counts, strict=True)]
        inputs, _ = self.packed(asked)
        return inputs if candidates else {name: value for name, value in inputs.items() if name not in LAYOUT}

    def packed(
        self, requests: Sequence[Request], length: int | None = None
    ) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Rows of one or several requests, none of which sees another.

        Args:
            requests: what each reads and asks.
            length: tokens of a row at most, first fit; None is one request a row.

        Returns:
            input_ids, attention_mask, mm_token_type_ids, segment, branch, sees, position (B, T) and image_grid_thw; and the
            numbers of the requests in reading order. Vectors go in that order: for each request its history, then its
            candidates; starts of queries likewise, for each request one an ask.

        Raises:
            UserError: a request is longer than `length`.
        """
        tokens = Vocabulary(self.item_token_id, self.retrieve_token_id, self.tokenizer.pad_token_id)
        inputs, order = pack(requests, self.tokens_per_item, tokens, length)
        inputs["mm_token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        inputs["image_grid_thw"] = self.grid(sum(request.items + request.candidates for request in requests))
        return inputs, order

    def words(self, title: str = "") -> list[int]:
        """Token ids of what stands before the items, see `request_words`."""
        return self.tokenizer.encode(request_words(title), add_special_tokens=False)

    def pad(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
        """Token lists to left-padded input_ids, attention_mask and (all-zero) mm_token_type_ids, each (B, L)."""
        length = max(len(row) for row in rows)
        fill = self.tokenizer.pad_token_id
        ids = torch.tensor([[fill] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": torch.zeros_like(ids)}

    def grid(self, items: int) -> torch.Tensor:
        """image_grid_thw (items, 3): rows (1, 2, 2k) announce k tokens an item."""
        return torch.tensor([[1, 2, 2 * self.tokens_per_item]]).expand(items, 3)

    def _as_vectors(self, items: np.ndarray | Sequence[str] | None) -> np.ndarray:
        if items is None:
            return np.zeros((0, self.dim), np.float32)
        if isinstance(items, np.ndarray):
            return items.astype(np.float32, copy=False)
        store = self._store()
        return store.float32(store.rows_of(list(items)))

    def _part_vector(self, part: dict[str, Any]) -> np.ndarray:
        if part["type"] == "item":
            return self._as_vectors([part["item"]])[0]
        if self._encode_pictures is None:
            raise UserError("this message shows a picture that is not in the catalogue; attach an encoder to see it")
        store = self._store()
        return as_stored(self._encode_pictures([part["image"]]), store.content_dim, store.dim)[0]

    def _store(self) -> ItemVectors:
        if self._vectors is None:
            raise UserError(
                "items were named by id, but no vectors are attached; call processor.attach(ItemVectors.open(...))"
            )
        return self._vectors


for _config, _ in KINDS.values():
    AutoProcessor.register(_config, NavigatorProcessor)
