"""Words as vectors of the item space: titles and free text through the encoder that made the items' content."""

from collections.abc import Callable, Sequence

import numpy as np

from navigator.contracts import ItemVectors, UserError
from navigator.contracts.vectors import as_stored

TextVectors = Callable[[Sequence[str]], np.ndarray]
REMEMBERED = 4096


def text_vectors(encoder: str, vectors: ItemVectors) -> TextVectors:
    """A function from n texts to their (n, D) unit vectors in the store's space, zeros where graph factors lie.

    Each text is encoded once; the last REMEMBERED of them are kept.

    Args:
        encoder: folder, open_clip name, hub id or "embedded".
        vectors: the store whose content it made.

    Raises:
        UserError: another encoder than the one that made them.
    """
    from encoders.load import load_encoder
    from navigator.encode_commands import resolve_encoder

    loaded = load_encoder(resolve_encoder(encoder))
    made_by = vectors.manifest.config.get("content_encoder", vectors.encoder) if vectors.manifest else vectors.encoder
    if loaded.fingerprint != made_by:
        raise UserError(
            f"the vectors' content comes from encoder {made_by}, but {encoder!r} is {loaded.fingerprint}; give the encoder "
            "they were embedded with (encoder_name in the manifest.json of the vectors)"
        )
    known: dict[str, np.ndarray] = {}

    def encode(texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            found = as_stored(loaded.encode_texts(new), vectors.content_dim, vectors.dim)
            known.update(zip(new, found, strict=True))
        values = np.stack([known[text] for text in texts])
        while len(known) > REMEMBERED:
            del known[next(iter(known))]
        return values

    return encode
