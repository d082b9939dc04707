"""Pictures of the gold set, made when they are needed: drawn from shapes, or a catalogue picture changed from what it was."""

import base64
import io
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageOps

from bench.assistant.gold import Drawing, Picture

SIDE = 256


def data_url(part: Picture | Drawing, images: Mapping[str, bytes]) -> str:
    """The picture as a data URL of a PNG; `images` holds the catalogue's pictures by item."""
    picture = _changed(part, images[part.item]) if isinstance(part, Picture) else _drawn(part)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _changed(part: Picture, encoded: bytes) -> Image.Image:
    with Image.open(io.BytesIO(encoded)) as opened:
        layers = opened.convert("RGBA")
    picture = Image.new("RGBA", layers.size, "white")
    picture.alpha_composite(layers)
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    for step in part.transform:
        if step == "mirror":
            picture = ImageOps.mirror(picture)
        elif step == "grey":
            picture = ImageOps.grayscale(picture).convert("RGB")
        else:
            picture = picture.transpose(Image.Transpose.ROTATE_90)
    return picture


def _drawn(part: Drawing) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(picture)
    for shape in part.shapes:
        if shape.kind == "line":
            draw.line(shape.points, fill=shape.colour, width=shape.width)
        elif shape.kind == "polygon":
            draw.polygon(shape.points, fill=shape.colour)
        else:
            (draw.ellipse if shape.kind == "ellipse" else draw.rectangle)(shape.points, fill=shape.colour)
    return picture
