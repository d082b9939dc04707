"""Words as vectors of the item space: titles and free text through the encoder that made the items' content."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from navigator.contracts import ItemVectors, UserError
from navigator.contracts.vectors import as_stored

if TYPE_CHECKING:
    from encoders.load import Encoder

TextVectors = Callable[[Sequence[str]], np.ndarray]
REMEMBERED = 4096


def text_vectors(encoder: "str | Encoder", vectors: ItemVectors) -> TextVectors:
    """A function from n texts to their (n, D) unit vectors in the store's space, zeros where graph factors lie.

    Each text is encoded once; the last REMEMBERED of them are kept. Threads may share it.

    Args:
        encoder: folder, open_clip name, hub id or "embedded"; or an opened encoder.
        vectors: the store whose content it made.

    Raises:
        UserError: another encoder than the one that made them.
    """
    from encoders.load import load_encoder
    from navigator.encode_commands import resolve_encoder

    loaded = load_encoder(resolve_encoder(encoder)) if isinstance(encoder, str) else encoder
    made_by = vectors.manifest.config.get("content_encoder", vectors.encoder) if vectors.manifest else vectors.encoder
    if loaded.fingerprint != made_by:
        raise UserError(
            f"the vectors' content comes from encoder {made_by}, but {loaded.name!r} is {loaded.fingerprint}; give the encoder "
            "they were embedded with (encoder_name in the manifest.json of the vectors)"
        )
    known: dict[str, np.ndarray] = {}
    lock = threading.Lock()

    def encode(texts: Sequence[str]) -> np.ndarray:
        with lock:
            have = {text: known[text] for text in texts if text in known}
        new = [text for text in dict.fromkeys(texts) if text not in have]
        if new:
            found = as_stored(loaded.encode_texts(new), vectors.content_dim, vectors.dim)
            have |= dict(zip(new, found, strict=True))
            with lock:
                known.update({text: have[text] for text in new})
                while len(known) > REMEMBERED:
                    del known[next(iter(known))]
        return np.stack([have[text] for text in texts])

    return encode
