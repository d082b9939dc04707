"""Contact sheets."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from navigator.contracts import UserError
from navigator.sheet import MAX_COLUMNS, MAX_ROWS, SheetRow, _shorten, contact_sheet


def red(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def colours(path: Path) -> dict[tuple, int]:
    with Image.open(path) as sheet:
        return {colour: count for count, colour in sheet.convert("RGB").getcolors(1 << 20)}  # type: ignore[union-attr]


def test_pictures_and_grey_boxes(tmp_path: Path) -> None:
    path = contact_sheet(
        [SheetRow("row", [red(50, 50), None, red(500, 250)], ["a"])], tmp_path / "new" / "s.png", thumb=64
    )
    found = colours(path)
    assert found[(255, 0, 0)] == 50 * 50 + 60 * 30  # the small one as it is, the large one fitted
    assert found[(0xD9, 0xDC, 0xE1)] == 64 * 64
    assert [entry.name for entry in path.parent.iterdir()] == ["s.png"]


def test_columns_and_rows_are_limited(tmp_path: Path) -> None:
    many = contact_sheet([SheetRow("r", [None] * 50)] * (MAX_ROWS + 5), tmp_path / "many.png", thumb=32)
    fewer = contact_sheet([SheetRow("r", [None] * MAX_COLUMNS)] * MAX_ROWS, tmp_path / "fewer.png", thumb=32)
    box = (0xD9, 0xDC, 0xE1)
    assert colours(many)[box] == colours(fewer)[box] == 32 * 32 * MAX_COLUMNS * MAX_ROWS
    with Image.open(many) as tall, Image.open(fewer) as short:
        assert tall.width == short.width and tall.height > short.height  # the line "and 5 more"


def test_captions_are_cut_to_the_cell() -> None:
    font = ImageFont.load_default(size=10)
    cut = _shorten("a very long caption that cannot fit", font, 64)
    assert cut.endswith("…") and font.getlength(cut) <= 64
    assert _shorten("short", font, 64) == "short"


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        contact_sheet([], tmp_path / "s.png")
