"""Pictures on their way in: checked by decoding, shrunk once, so that no later stage meets a broken or a giant one.

The pixel limit is read from the header before anything is decoded: a PNG of a few kilobytes can claim 600 megapixels.
"""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

# Formats that Pillow decodes by itself, without starting another program (EPS would start Ghostscript).
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_KEEP = ("PNG", "JPEG", "WEBP")
_ORIENTATION = 274
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
WEBP_QUALITY = 90
PILLOW_LIMIT = 178_956_970  # above this many pixels Pillow itself refuses to open a picture


class PictureError(Exception):
    """A picture that cannot be taken; the message is the reason in rejects.parquet."""


def picture_bytes(source: Any) -> bytes | None:
    """The encoded picture in what an importer hands over: bytes, a path, or a {bytes, path} struct; None if empty.

    Raises:
        PictureError: "broken picture" (the file cannot be read) or "wrong type".
    """
    if isinstance(source, dict):
        source = source.get("bytes") or (Path(source["path"]) if source.get("path") else None)
    if isinstance(source, Path):
        try:
            return source.read_bytes()
        except OSError as error:
            raise PictureError("broken picture") from error
    if source is None or isinstance(source, bytes):
        return source or None
    raise PictureError("wrong type")


def pixels(path: Path) -> int:
    """Width x height by the header; 0 when there is no readable picture. Decodes nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                return picture.width * picture.height
    except Image.DecompressionBombError:
        return PILLOW_LIMIT + 1
    except _DECODE_ERRORS:
        return 0


def shrink(data: bytes, max_side: int, max_pixels: int) -> bytes:
    """The picture as RGB that fits a square of `max_side` pixels: aspect kept, never enlarged, transparency on white.

    An RGB PNG, JPEG or WebP that fits already is returned byte for byte; anything else becomes WebP.

    Raises:
        PictureError: "picture too large" (more than `max_pixels`, by its header) or "broken picture".
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                raise PictureError("picture too large")
            turned = picture.getexif().get(_ORIENTATION, 1) != 1
            as_it_is = picture.format in _KEEP and picture.mode == "RGB" and not turned
            moving = getattr(picture, "is_animated", False)
            if as_it_is and not moving and max(picture.size) <= max_side and "transparency" not in picture.info:
                picture.load()
                return data
            return _encode(_to_rgb(picture, max_side))
    except Image.DecompressionBombError as error:
        raise PictureError("picture too large") from error
    except _DECODE_ERRORS as error:
        raise PictureError("broken picture") from error


def _to_rgb(picture: Image.Image, max_side: int) -> Image.Image:
    """Decode, turn upright, shrink, then lay on white (in this order: fewer pixels to lay)."""
    if picture.mode.startswith("I"):  # 16-bit grey: keep the high byte, `convert` would clip instead
        picture = picture.convert("I").point(lambda value: value / 256).convert("L")
    clear = "A" in picture.getbands() or "transparency" in picture.info
    if clear or picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGBA" if clear else "RGB")
    picture = ImageOps.exif_transpose(picture)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if not clear:
        return picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
    return buffer.getvalue()
