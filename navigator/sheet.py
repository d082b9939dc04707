"""Contact sheets: rows of pictures with captions in one PNG, to see at a glance what a board or an answer is.

Pillow only, so that a sheet costs no plotting library.
"""

import io
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from navigator.contracts import UserError

MAX_COLUMNS = 10
MAX_ROWS = 60
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_INK, _FAINT, _PAPER, _EDGE, _EMPTY = "#1f2328", "#6a737d", "#ffffff", "#e3e6ea", "#d9dce1"


@dataclass(frozen=True)
class SheetRow:
    """One line of the sheet.

    Attributes:
        title: stands above the pictures.
        pictures: encoded pictures; None is drawn as a grey box. Ten are shown, the others counted.
        captions: one a picture, or fewer.
    """

    title: str
    pictures: list[bytes | None]
    captions: list[str] = field(default_factory=list)


def contact_sheet(rows: list[SheetRow], out: Path, thumb: int = 96) -> Path:
    """Draw the sheet and save it as PNG (written beside, then renamed).

    Args:
        rows: sixty at most are drawn; the last line says how many are not.
        out: the PNG to write; its folder is made.
        thumb: side of a picture's cell in pixels.

    Raises:
        UserError: there is nothing to draw.
    """
    if Path(out).is_dir():
        raise UserError(f"{out} is a folder; give the name of a PNG file")
    if not rows:
        raise UserError(f"nothing to draw on the contact sheet {out}: no rows")
    shown = rows[:MAX_ROWS]
    title_font, font = ImageFont.load_default(size=max(12, thumb // 7)), ImageFont.load_default(size=max(9, thumb // 9))
    gap, margin = max(4, thumb // 12), max(10, thumb // 5)
    title_height, caption_height = _line(title_font) + gap, _line(font)
    heights = [title_height + thumb + gap // 2 + (caption_height if any(r.captions) else 0) + 2 * gap for r in shown]
    columns = max(1, *(min(len(row.pictures), MAX_COLUMNS) for row in shown), 4)
    width = 2 * margin + columns * (thumb + gap) - gap
    more = len(rows) - len(shown)
    sheet = Image.new("RGB", (width, 2 * margin + sum(heights) - gap + (title_height if more else 0)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = margin
    for row, height in zip(shown, heights, strict=True):
        _draw_title(draw, row, (margin, top, width - margin), title_font, font)
        for column, picture in enumerate(row.pictures[:MAX_COLUMNS]):
            left = margin + column * (thumb + gap)
            sheet.paste(_cell(picture, thumb), (left, top + title_height))
            if column < len(row.captions):
                caption = _shorten(row.captions[column], font, thumb)
                draw.text((left, top + title_height + thumb + gap // 2), caption, fill=_FAINT, font=font)
        top += height
    if more:
        draw.text((margin, top), f"and {more} more", fill=_FAINT, font=title_font)
    return _save(sheet, Path(out))


def _draw_title(draw: ImageDraw.ImageDraw, row: SheetRow, box: tuple[int, int, int], font: Font, small: Font) -> None:
    left, top, right = box
    hidden = len(row.pictures) - MAX_COLUMNS
    note = f"+{hidden} more" if hidden > 0 else ""
    room = right - left - int(small.getlength(note)) - (8 if note else 0)
    draw.text((left, top), _shorten(row.title, font, room), fill=_INK, font=font)
    if note:
        draw.text((right, top + 2), note, fill=_FAINT, font=small, anchor="ra")


def _cell(picture: bytes | None, thumb: int) -> Image.Image:
    """A square cell with the picture in its middle."""
    cell = Image.new("RGB", (thumb, thumb), _EMPTY if picture is None else _PAPER)
    if picture is None:
        return cell
    with Image.open(io.BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((thumb - 4, thumb - 4), Image.Resampling.LANCZOS)
    cell.paste(image, ((thumb - image.width) // 2, (thumb - image.height) // 2))
    ImageDraw.Draw(cell).rectangle((0, 0, thumb - 1, thumb - 1), outline=_EDGE)
    return cell


def _shorten(text: str, font: Font, room: int) -> str:
    """`text` on one line of `room` pixels, cut with an ellipsis."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _line(font: Font) -> int:
    return round(font.getbbox("Ågj|")[3])


def _save(sheet: Image.Image, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".tmp")
    sheet.save(beside, "PNG", optimize=True)
    beside.replace(out)
    return out
