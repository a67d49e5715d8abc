"""Pages and drawings that show pictures which are purged."""

import io
import re
from collections.abc import Collection

_FIGURE = re.compile(r'<figure class="pic[^"]*"(?: data-uid="(?P<uid>[^"]*)")?>.*?</figure>', re.DOTALL)
_INSTEAD = '<figure class="pic"><div class="none">taken down</div></figure>'


def purge_page(html: str, uids: Collection[str]) -> str:
    """A report's page without the pictures of these links and what is said under them; of one that does not say whose
    its pictures are, without any."""

    def instead(found: re.Match[str]) -> str:
        return _INSTEAD if found["uid"] is None or found["uid"] in uids else found[0]

    return html if not uids else _FIGURE.sub(instead, html)


def blank_drawing() -> bytes:
    """A PNG that says why there is no drawing; the same bytes each time."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (420, 60), 255)
    ImageDraw.Draw(image).text((12, 22), "a picture in this drawing was taken down", fill=90)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
