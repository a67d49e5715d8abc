"""Small images folders and selections for tests, as the stages write them."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vlp_core.data.index import index_rows
from vlp_core.data.layout import SELECTION, SELECTION_FILE, SUCCESS
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


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> None:
    with tarfile.open(path, "w", format=format) as tar:
        for name, body in members:
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))


def write_images(
    folder: Path, shards: Sequence[int], *, failed: Sequence[int] = (), foreign: bool = False, first: int = 0
) -> dict[str, bytes]:
    """Shards of so many rows, the numbers of `failed` rows; `foreign` leaves out what img2dataset does not write.

    Returns uid -> bytes of the pictures, in storage order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, bytes] = {}
    number = first
    for shard, count in enumerate(shards):
        rows, members = [], []
        for _ in range(count):
            body = None if number in failed else jpeg(number)
            rows.append(row(number, shard, body))
            if body:
                key = rows[-1]["key"]
                members += [(f"{key}.jpg", body), (f"{key}.json", b"{}"), (f"{key}.txt", b"a text")]
                pictures[rows[-1]["uid"]] = body
            number += 1
        table = pa.Table.from_pylist(rows)
        write_tar(folder / f"{shard:05d}.tar", members)
        if not foreign:
            pq.write_table(index_rows(folder / f"{shard:05d}.tar", table), folder / f"{shard:05d}_index.parquet")
        kept = table.drop_columns(["uid", "captions", "sha256"]) if foreign else table
        pq.write_table(kept, folder / f"{shard:05d}.parquet")
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
            "captions": captions or [[f"chosen {uid[:6]}"] for uid in uids],
            "sha256": pa.nulls(len(uids), pa.string()),
        }
    )
    pq.write_table(table.cast(SELECTION).sort_by("uid"), folder / SELECTION_FILE)
    return folder / SELECTION_FILE
