"""A contact sheet: some good rows, and each fault beside what the list says of it."""

import io
import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from vlp_core.identity import uid_of
from vlp_core.miniature.web import KINDS, Page, Row

COLUMNS, CELL, CAPTION = 6, 190, 74  # cells a row; pixels of a cell; of the text below it
MARGIN = 12
PAPER, INK, FAINT = (250, 250, 248), (32, 33, 36), (128, 130, 134)
GOOD_TINT, BAD_TINT = (24, 128, 72), (186, 56, 40)


def contact_sheet(rows: Sequence[Row], pages: Sequence[Page]) -> Image.Image:
    """Two lines of good training rows, then one row of every other kind, copies after their originals."""
    by_url = {page.url: page for page in pages}
    cells = [(row.kind, row) for row in rows if row.kind == "good" and row.list == "train"][: 2 * COLUMNS]
    by_uid = {uid_of(row.url): row for row in rows}
    for kind in KINDS[1:]:
        row = next(row for row in rows if row.kind == kind)
        if row.original is not None:
            cells.append((f"original of: {kind}", by_uid[row.original]))
        cells.append((kind, row))
    lines = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (MARGIN + COLUMNS * (CELL + MARGIN), MARGIN + lines * (CELL + CAPTION + MARGIN)), PAPER)
    for i, (title, row) in enumerate(cells):
        x, y = MARGIN + i % COLUMNS * (CELL + MARGIN), MARGIN + i // COLUMNS * (CELL + CAPTION + MARGIN)
        _paste(sheet, x, y, _picture(row, by_url))
        _write(sheet, x, y + CELL + 3, title, row)
    return sheet


def _picture(row: Row, pages: dict[str, Page]) -> Image.Image:
    page = pages[row.url]
    target = page.headers.get("Location")
    if target in pages:
        page = pages[target]
    if page.status == 200 and row.kind != "html":
        return Image.open(io.BytesIO(page.body))
    blank = Image.new("RGB", (CELL, CELL), (232, 232, 230))
    said = {"html": "HTML, not a picture", "hostile": f"redirects to\n{target}"}.get(row.kind, str(page.status))
    ImageDraw.Draw(blank).text(
        (CELL / 2, CELL / 2), textwrap.fill(said, 24), FAINT, _font(14), anchor="mm", align="center"
    )
    return blank


def _paste(sheet: Image.Image, x: int, y: int, picture: Image.Image) -> None:
    picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    sheet.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2))


def _write(sheet: Image.Image, x: int, y: int, title: str, row: Row) -> None:
    pencil = ImageDraw.Draw(sheet)
    fine = row.kind in ("good", "slow", "flaky", "redirect")
    pencil.text((x, y), title, GOOD_TINT if fine else BAD_TINT, _font(13))
    text = row.captions[0] if row.captions else row.scene.classes[0]
    pencil.text((x, y + 18), textwrap.fill(text, 30, max_lines=3), INK, _font(12), spacing=2)


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # brings a typeface that has accents

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
