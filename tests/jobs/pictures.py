"""An images folder out of pictures at hand, in the layout that download writes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.vlp_core.data.folders import write_shard
from vlp_core.data.layout import IMAGES, SUCCESS
from vlp_core.identity import sha256_of, uid_of


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A row of a list and what its url gave: the body as it came, or nothing."""

    url: str
    body: bytes | None
    captions: Sequence[str] = field(default=("a picture",))

    @property
    def uid(self) -> str:
        return uid_of(self.url)


def stored(body: bytes, side: int) -> bytes:
    """As a fetched picture is stored: its shorter side shrunk to `side` where it is longer."""
    with Image.open(io.BytesIO(body)) as image:
        scale = side / min(image.size)
        if scale >= 1:
            return body
        small = image.convert("RGB").resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
        )
    file = io.BytesIO()
    small.save(file, "JPEG", quality=95)
    return file.getvalue()


def write_images(folder: Path, pictures: Sequence[Picture], *, shard_size: int = 1000, side: int = 64) -> Path:
    for shard, start in enumerate(range(0, len(pictures), shard_size)):
        some = pictures[start : start + shard_size]
        rows = [_row(f"{shard:05d}{number:04d}", picture) for number, picture in enumerate(some)]
        bodies = [None if picture.body is None else stored(picture.body, side) for picture in some]
        write_shard(folder, shard, rows, bodies, schema=IMAGES)
    return folder


def _row(key: str, picture: Picture) -> dict:
    row = {"key": key, "url": picture.url, "uid": picture.uid, "captions": list(picture.captions), "source": "list"}
    row["caption"] = picture.captions[0] if picture.captions else None
    if picture.body is None:
        return row | {"status": "failed_to_download", "error_message": "404", "http_status": 404}
    with Image.open(io.BytesIO(picture.body)) as image:
        width, height = image.size
        kind = (image.format or "").lower()
    return row | {
        "status": SUCCESS,
        "original_width": width,
        "original_height": height,
        "sha256": sha256_of(picture.body),
        "bytes": len(picture.body),
        "format": kind,
        "http_status": 200,
    }
