"""A picture as a request carries it: fitted into a square of pixels, a data URL when it is sent, a digest when it is kept."""

import base64
import hashlib
import io
from dataclasses import dataclass, field

from PIL import Image, UnidentifiedImageError


@dataclass(frozen=True)
class Picture:
    """A picture as it will be sent: fitted into `width` x `height` pixels. `sha256` is of the catalogue's own bytes."""

    source: bytes = field(repr=False)
    sha256: str
    width: int
    height: int

    @classmethod
    def fit(cls, source: bytes, px: int) -> "Picture | None":
        """Fitted into px x px, never enlarged; None where the bytes are no picture."""
        try:
            with Image.open(io.BytesIO(source)) as opened:
                width, height = opened.size
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            return None
        scale = min(1.0, px / max(width, height))
        sides = (max(1, round(side * scale)) for side in (width, height))
        return cls(source, hashlib.sha256(source).hexdigest(), *sides)

    def data_url(self) -> str:
        """JPEG on white. Raises OSError where the picture breaks off after its header."""
        with Image.open(io.BytesIO(self.source)) as opened:
            shown = opened.convert("RGBA").resize((self.width, self.height), Image.Resampling.LANCZOS)
        page = Image.new("RGB", shown.size, "white")
        page.paste(shown, mask=shown.getchannel("A"))
        buffer = io.BytesIO()
        page.save(buffer, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
