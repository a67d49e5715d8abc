"""Pictures that somebody else stored: what each is, by its bytes, or why it is left out."""

import io
from dataclasses import dataclass
from typing import Any

from vlp_core.data.layout import SUCCESS
from vlp_core.identity import sha256_of
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import NotAnImageError, refusal, sniff

REFUSED = "failed_to_resize"  # img2dataset's name for what came and was not kept


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A picture that can be read: columns of IMAGES."""

    columns: dict[str, Any]


def examine(body: bytes) -> Stored | str:
    """What a picture is, or the reason why it cannot be read; it is decoded once, at an eighth where it can be."""
    from PIL import Image

    try:
        header = sniff(body)
    except NotAnImageError as error:
        return str(error)
    reason = refusal(header, max_pixels=Fetch.max_pixels, max_frames=Fetch.max_frames)
    if reason is not None:
        return reason
    try:
        with Image.open(io.BytesIO(body)) as image:
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
    except Exception:  # decoders raise what they like
        return f"undecodable: {header.kind}"
    sides = {"width": header.width, "height": header.height}
    sides |= {"original_width": header.width, "original_height": header.height}
    known = {"sha256": sha256_of(body), "bytes": len(body), "format": header.kind}
    return Stored(columns={"status": SUCCESS, **sides, **known})
