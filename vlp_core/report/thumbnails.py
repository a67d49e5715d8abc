"""Small pictures inside a page: found by uid, shrunk, and written as data."""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from vlp_core.data.index import Reader
from vlp_core.data.layout import shard_names
from vlp_core.data.stored import index_shard

SIDE = 132
_QUALITY = 72


@dataclass(frozen=True)
class Place:
    """Where the bytes of a picture lie, and its captions."""

    file: Path
    offset: int
    length: int
    captions: tuple[str, ...]


def places_of(folders: Sequence[Path], uids: Iterable[str]) -> dict[str, Place]:
    """Where pictures lie among folders of images, each in the first that has it: reads on until all are found."""
    wanted = set(uids)
    found: dict[str, Place] = {}
    for folder, name in _shards(folders):
        if not wanted:
            break
        here = _uids(folder, name)
        if not pc.any(pc.is_in(here, value_set=pa.array(list(wanted), here.type)), min_count=0).as_py():
            continue
        file, index = index_shard(folder, name)
        for row in index.filter(pc.is_in(index["uid"], value_set=pa.array(list(wanted), pa.string()))).to_pylist():
            found.setdefault(row["uid"], Place(file, row["offset"], row["length"], tuple(row["captions"] or ())))
        wanted -= found.keys()
    return found


def _shards(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    return ((folder, name) for folder in folders for name in shard_names(folder))


def _uids(folder: Path, name: str) -> pa.ChunkedArray:
    """The uids of a shard, from its index where that is stored."""
    index = folder / f"{name}_index.parquet"
    if index.exists():
        with suppress(OSError, pa.ArrowInvalid), pq.ParquetFile(index) as file:
            return file.read(columns=["uid"])["uid"]
    return index_shard(folder, name)[1]["uid"]


def thumbnails(places: dict[str, Place]) -> dict[str, str]:
    """By uid each picture as a JPEG of at most 132 pixels a side, in a data: address; none of what does not decode."""
    reader = Reader(open_files=8)
    shown = {}
    for uid, place in sorted(places.items(), key=lambda item: (str(item[1].file), item[1].offset)):
        with suppress(Exception):  # PIL raises whatever it likes
            shown[uid] = _small(reader.read(place.file, place.offset, place.length))
    reader.close()
    return shown


def _small(body: bytes) -> str:
    with Image.open(io.BytesIO(body)) as image:
        image.draft("RGB", (SIDE, SIDE))
        small = image.convert("RGBA" if "transparency" in image.info or image.mode in ("LA", "PA") else image.mode)
        small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2)
        paper = Image.new("RGB", small.size, (255, 255, 255))
        paper.paste(small.convert("RGB"), mask=small.getchannel("A") if small.mode == "RGBA" else None)
    file = io.BytesIO()
    paper.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
