"""Small images folders and selections for tests, as the stages write them."""

import io
import struct
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vlp_core.data.index import index_rows
from vlp_core.data.layout import SELECTION, SELECTION_FILE, SUCCESS
from vlp_core.files import write_table
from vlp_core.identity import generator, sha256_of, uid_of


def jpeg(seed: int, width: int = 40, height: int = 30) -> bytes:
    """A smooth picture of its own."""
    coarse = generator("picture", seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def row(number: int, shard: int, body: bytes | None) -> dict:
    url = f"http://pictures.test/{number}.jpg"
    return {
        "key": f"{shard:05d}{number:04d}",
        "url": url,
        "caption": f"picture {number}",
        "status": SUCCESS if body else "failed_to_download",
        "sha256": sha256_of(body) if body else None,
        "uid": uid_of(url),
        "captions": [f"picture {number}", f"another name of {number}"],
        "label": f"class {number % 3}",
    }


def broken(kind: str) -> bytes:
    """A picture that begins well: a JPEG that is cut off, a PNG with no chunk where one should be, one of a billion
    pixels."""
    if kind == "cut":
        return jpeg(1)[:-200]
    side = 40 if kind == "chunk" else 30_000
    pixels = zlib.compress(bytes(41 * 40), 0)
    second = pixels[100:] if kind == "chunk" else b""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", pixels[:100]),
        (b"\1\2\3\4", second),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> None:
    with tarfile.open(path, "w", format=format) as tar:
        for name, body in members:
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))


def write_shard(
    folder: Path, shard: int, rows: Sequence[dict], bodies: Sequence[bytes | None], *, schema: pa.Schema | None = None
) -> None:
    """Tar, Parquet and index of one shard: rows with their keys, and the bodies of those that succeeded."""
    folder.mkdir(parents=True, exist_ok=True)
    members: list[tuple[str, bytes]] = []
    for described, body in zip(rows, bodies, strict=True):
        if body is not None:
            key = described["key"]
            members += [(f"{key}.jpg", body), (f"{key}.json", b"{}"), (f"{key}.txt", b"a text")]
    tar = folder / f"{shard:05d}.tar"
    write_tar(tar, members)
    table = pa.Table.from_pylist(list(rows), schema=schema)
    write_table(tar.with_suffix(".parquet"), table)
    write_table(tar.with_name(f"{shard:05d}_index.parquet"), index_rows(tar, table))


def write_images(
    folder: Path, shards: Sequence[int], *, failed: Sequence[int] = (), foreign: bool = False, first: int = 0
) -> dict[str, bytes]:
    """Shards of so many rows, the numbers of `failed` rows; `foreign` leaves out what img2dataset does not write.

    Returns uid -> bytes of the pictures, in storage order.
    """
    pictures: dict[str, bytes] = {}
    for shard, count in enumerate(shards):
        bodies = {number: None if number in failed else jpeg(number) for number in range(first, first + count)}
        rows = [row(number, shard, body) for number, body in bodies.items()]
        write_shard(folder, shard, rows, list(bodies.values()))
        pictures |= {described["uid"]: body for described, body in zip(rows, bodies.values(), strict=True) if body}
        if foreign:
            (folder / f"{shard:05d}_index.parquet").unlink()
            path = folder / f"{shard:05d}.parquet"
            pq.write_table(pq.read_table(path).drop_columns(["uid", "captions", "sha256"]), path)
        first += count
    return pictures


def write_selection(
    folder: Path,
    uids: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    captions: Sequence[list[str]] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "uid": list(uids),
            "weight": pa.array(weights or [1.0] * len(uids), pa.float32()),
            "captions": captions or [[f"chosen {uid[:3]}"] for uid in uids],
            "sha256": pa.nulls(len(uids), pa.string()),
        }
    )
    pq.write_table(table.cast(SELECTION).sort_by("uid"), folder / SELECTION_FILE)
    return folder / SELECTION_FILE
