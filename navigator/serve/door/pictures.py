"""Pictures that people send: data URLs only, judged by their headers before a pixel is decoded.

The server fetches nothing, so no URL can make it call a neighbour (SSRF): anything but a data URL is refused by its first
letters. Sizes are read from the first bytes; Pillow is asked afterwards, because its WebP reader makes room for the whole
picture when it opens one. A JPEG of very many scans costs the time of decoding it as many times over, so scans are
counted. Last, the picture is decoded by the very function that the encoder uses: what is returned here, it can read.
"""

import base64
import binascii
import io
import struct

from PIL import Image

from encoders.pictures import UnreadablePictureError, flatten_picture
from navigator.refusal import Refusal
from navigator.serve.door.options import DoorOptions

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/jpg": "JPEG", "image/webp": "WEBP"}
FORMATS = ("PNG", "JPEG", "WEBP")
SCANS = 30  # a progressive JPEG has about ten; each further one of 25 million pixels costs about 50 ms
ENOUGH = 512  # pixels of the longer side that it is reduced to, about what encoders reduce it to


def picture_of(url: str, limits: DoorOptions, param: str = "image") -> bytes:
    """The file within a data URL; PNG, JPEG or WebP, still, within the limits, and decodable. Takes milliseconds of CPU.

    Args:
        url: as the client sent it.
        limits: picture_bytes, picture_side and picture_pixels count.
        param: the field it came in, for the refusal.

    Raises:
        Refusal: 400 `no_fetching`, `bad_data_url`, `picture_unreadable`; 413 `picture_too_large`; 415
            `picture_not_supported`, `picture_animated`.
    """
    data = _decoded(url, limits, param)
    if sides := _announced_sides(data):
        _check_sides(*sides, limits, param)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_sides(*image.size, limits, param)
            if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a phone's photo and its thumbnail
                raise Refusal(415, "picture_animated", "the picture is animated; send a still one", param)
        if data[:2] == b"\xff\xd8" and data.count(b"\xff\xda") > SCANS:
            raise Refusal(415, "picture_not_supported", f"the JPEG has more than {SCANS} scans", param)
        flatten_picture(data, ENOUGH)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(limits, param) from error
    except Image.UnidentifiedImageError as error:
        raise Refusal(415, "picture_not_supported", "the picture is not PNG, JPEG or WebP", param) from error
    except (UnreadablePictureError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise Refusal(400, "picture_unreadable", "the picture is broken or incomplete", param) from error
    return data


def _decoded(url: str, limits: DoorOptions, param: str) -> bytes:
    """The bytes of a data URL."""
    if url[:5].lower() != "data:":
        message = "pictures are not fetched; send the file itself as data:image/png;base64,..."
        raise Refusal(400, "no_fetching", message, param)
    head, comma, _ = url[:200].partition(",")
    kind, *parameters = [part.strip().lower() for part in head[5:].split(";")]
    if not comma or not parameters or parameters[-1] != "base64":
        raise Refusal(400, "bad_data_url", "a picture is data:image/png;base64,...", param)
    if kind not in KINDS:
        raise Refusal(415, "picture_not_supported", "pictures are image/png, image/jpeg or image/webp", param)
    if len(url) - len(head) > limits.picture_bytes * 4 // 3 + 8:
        raise _too_large(limits, param)
    try:
        data = base64.b64decode(url[len(head) + 1 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "bad_data_url", "the picture is not valid base64", param) from error
    if len(data) > limits.picture_bytes:
        raise _too_large(limits, param)
    return data


def _announced_sides(data: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG (11.2.1) or WebP (RFC 9649, 2.5 to 2.7) file announces; None for others and broken ones."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return struct.unpack(">II", data[16:24])
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _check_sides(width: int, height: int, limits: DoorOptions, param: str) -> None:
    if max(width, height) > limits.picture_side or width * height > limits.picture_pixels:
        raise _too_large(limits, param)


def _too_large(limits: DoorOptions, param: str) -> Refusal:
    allowed = f"{limits.picture_bytes:,} bytes, sides of {limits.picture_side:,} and {limits.picture_pixels:,} pixels"
    return Refusal(413, "picture_too_large", f"the picture is too large; allowed are {allowed}", param)
