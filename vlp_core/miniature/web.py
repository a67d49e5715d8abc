"""The miniature web's vocabulary: pages (what a url answers), rows (what a list says of it), and their files.

`web.tar` holds each body once; `web.parquet` says what every url answers and where in the tar its body lies.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from vlp_core.files import replacing, write_table
from vlp_core.identity import sha256_of, uid_of
from vlp_core.miniature.scenes import Scene

# What a training row can be. Good ones end in the data set; of an original and its copies, one does.
GOOD = ("good", "slow", "flaky", "redirect")
COPIED = ("exact", "near")
UNREACHABLE = ("dead", "html", "hostile", "optout")
BADLY_CAPTIONED = ("filename", "boilerplate", "wrong", "foreign")
KINDS = (*GOOD, *COPIED, *UNREACHABLE, "tiny", *BADLY_CAPTIONED, "leak")

_SITES = ("photos", "gallery", "album", "shop", "news", "blog", "museum", "archive", "forum", "wiki")
HOSTS = (*(f"cdn{i}.test" for i in range(1, 21)), *(f"{site}.test" for site in _SITES))
EVALUATION_HOSTS = tuple(f"benchmark{i}.test" for i in range(1, 9))
SLOW_HOST, FLAKY_HOST, REDIRECTING_HOST = "slow.test", "flaky.test", "go.test"
DELAY = 0.3  # seconds before the slow host answers
RETRY_AFTER = 1  # seconds that the flaky host asks for
DEAD_STATUSES = (404, 410, 500)
OPT_OUTS = ("noai", "noimageai", "noai, noimageai", "noai, max-image-preview:large")
OPT_IN = "max-image-preview:large"  # a directive that forbids nothing
FORBIDDEN_ADDRESS = "http://127.0.0.2:8801/internal.jpg"
ERROR_PAGE = b"<!doctype html><html><head><title>Gone</title></head><body><p>This picture has moved.</p></body></html>"

WEB_TABLE, WEB_PACK = "web.parquet", "web.tar"
PAGES = pa.schema(
    [
        ("host", pa.string()),
        ("path", pa.string()),
        ("status", pa.int32()),
        ("headers", pa.string()),  # JSON
        ("delay", pa.float64()),
        ("refusals", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)
TRUTH = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("list", pa.string()),
        ("kind", pa.string()),
        ("original", pa.string()),
        ("caption_kind", pa.string()),
        ("classes", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a url answers, after `delay` seconds and after having answered 503 `refusals` times."""

    url: str
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "image/jpeg"})
    delay: float = 0.0
    refusals: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """A url of a list ("train", "retrieval", "zero_shot") and the truth about it; `original`: uid of what it copies."""

    url: str
    scene: Scene
    captions: tuple[str, ...] = ()
    list: str = "train"
    kind: str = "good"
    caption_kind: str = "good"
    original: str | None = None


def write_web(folder: Path, pages: Sequence[Page]) -> None:
    """The two files that the server reads; equal pages give equal bytes."""
    columns: dict[str, list] = {name: [] for name in PAGES.names}
    with replacing(folder / WEB_PACK) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as pack:
        offsets: dict[str, int] = {}
        for page in pages:
            name = sha256_of(page.body)
            if name not in offsets:
                offsets[name] = pack.offset + tarfile.BLOCKSIZE
                member = tarfile.TarInfo(name)
                member.size = len(page.body)
                pack.addfile(member, io.BytesIO(page.body))
            address = urlsplit(page.url)
            headers = json.dumps(page.headers, sort_keys=True)
            place = (address.hostname, address.path, page.status, headers, page.delay, page.refusals, offsets[name])
            for column, value in zip(columns.values(), (*place, len(page.body)), strict=True):
                column.append(value)
    write_table(folder / WEB_TABLE, pa.table(columns, schema=PAGES))


def truth_of(rows: Sequence[Row]) -> pa.Table:
    """What is true of every row, by the uid of its url."""
    columns = {
        "uid": [uid_of(row.url) for row in rows],
        "url": [row.url for row in rows],
        "list": [row.list for row in rows],
        "kind": [row.kind for row in rows],
        "original": [row.original for row in rows],
        "caption_kind": [row.caption_kind for row in rows],
        "classes": [row.scene.classes for row in rows],
    }
    return pa.table(columns, schema=TRUTH)
