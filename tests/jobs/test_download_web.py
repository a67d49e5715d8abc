"""The web as the download stage meets it: what a server sends, and the row that is written of it."""

import io
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from aiohttp import web
from multidict import CIMultiDict
from PIL import Image

from tests.jobs.downloading import fetched, settings, write_pairs
from tests.vlp_core.web.site import Site, picture
from tests.vlp_core.web.test_picture import BODIES, OF_ONE_FRAME, exif, pixels, seen
from tests.vlp_core.web.test_sniff import png_claiming
from vlp_core.data.layout import LEDGER_FOLDER, SUCCESS

Sent = tuple[bytes, Mapping[str, str]]
"""A body and its headers."""
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "red")]}


def many_png() -> bytes:
    """Two frames and a header that says a million."""
    body = bytearray(picture(kind="PNG", **FRAMES))
    at = body.index(b"acTL")
    struct.pack_into(">I", body, at + 4, 1_000_000)
    struct.pack_into(">I", body, at + 12, zlib.crc32(body[at : at + 12]))
    return bytes(body)


def many_gif(frames: int) -> bytes:
    """A picture, and frames of a pixel that take 15 bytes each."""
    return picture(kind="GIF")[:-1] + (struct.pack("<cHHHHB", b",", 0, 0, 1, 1, 0) + b"\2\2D\1\0") * (frames - 1) + b";"


def many_webp(frames: int) -> bytes:
    """The last of two frames again and again."""
    body = picture(kind="WEBP", **FRAMES)
    body += body[body.rindex(b"ANMF") :] * (frames - 2)
    return body[:4] + struct.pack("<I", len(body) - 8) + body[8:]


def rows_of(sent: Mapping[str, Sent], folder: Path, robots: bytes = b"", **options: Any) -> dict[str, dict[str, Any]]:
    """The rows of the stage, by path, with those of the ledger and the stored picture under `ledger` and `jpg`; under
    `asked`, how often the server was."""

    async def handler(request: web.Request) -> web.StreamResponse:
        body, headers = sent[request.match_info["path"]]
        return web.Response(body=body, headers=CIMultiDict({"Content-Type": "image/jpeg", **headers}))

    with Site(handler) as site:
        site.robots = 200, robots
        out = fetched(write_pairs(folder / "pairs", list(sent)), folder / "out", settings(site, **options))
    with tarfile.open(out / "00000.tar") as tar:
        stored = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    rows = pq.read_table(out / "00000.parquet").to_pylist()
    ledger = pq.read_table(out / LEDGER_FOLDER / "00000.parquet").to_pylist()
    return {
        path: {**row, "ledger": entry, "jpg": stored.get(f"{row['key']}.jpg"), "asked": site.seen[path]}
        for path, row, entry in zip(sent, rows, ledger, strict=True)
    }


def test_what_is_no_picture_or_too_much_of_one_is_a_row_with_its_reason(tmp_path: Path) -> None:
    """Whatever its name and its type say; each is sent as image/jpeg."""
    hostile = {
        "page.jpg": (b"<!DOCTYPE html><p>gone", "not an image: html"),
        "drawing.jpg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "not an image: svg"),
        "loud.jpg": (b'<svg onload="alert(1)"/>', "not an image: svg"),
        "script.jpg": (b"<script>alert(1)</script>", "not an image: script"),
        "program.jpg": (b"#!/bin/sh\necho", "not an image: script"),
        "letter.jpg": (b"%PDF-1.7", "not an image: pdf"),
        "large.png": (png_claiming(30_000, 30_000), "too many pixels"),
        "long.png": (many_png(), "too many frames"),
        "long.gif": (many_gif(1001), "too many frames"),
        "longest.gif": (many_gif(1_000_000), "too many frames"),
        "long.webp": (many_webp(1001), "too many frames"),
        **{f"cut {kind}": (OF_ONE_FRAME[kind][:-40], f"undecodable: {kind}") for kind in ("png", "webp", "gif", "bmp")},
        "cut.jpg": (OF_ONE_FRAME["jpeg"][:-40], "undecodable: jpeg"),
        "head.jpg": (b"\xff\xd8\xff\xe0", "broken header: jpeg"),
    }
    rows = rows_of({path: (body, {}) for path, (body, _) in hostile.items()}, tmp_path)
    assert {path: row["error_message"] for path, row in rows.items()} == {
        path: why for path, (_, why) in hostile.items()
    }
    assert not any(row["jpg"] for row in rows.values())
    assert {row["ledger"]["outcome"] for row in rows.values()} == {"final"}


def test_a_picture_of_as_many_frames_as_may_be_is_stored(tmp_path: Path) -> None:
    sent: dict[str, Sent] = {"a.gif": (many_gif(1000), {}), "a.webp": (many_webp(1000), {})}
    assert {row["status"] for row in rows_of(sent, tmp_path).values()} == {SUCCESS}


def test_what_its_owner_wants_left_out_is_a_row_that_says_how_he_said_it(tmp_path: Path) -> None:
    robots = b"User-agent: *\nDisallow: /private/\n\nUser-agent: vlp\nDisallow: /for-people/"
    said: dict[str, tuple[dict[str, str], str | None]] = {
        "1": ({"X-Robots-Tag": "noai"}, "opted out: noai"),
        "2": ({"X-Robots-Tag": "nofollow, NoImageAI"}, "opted out: noimageai"),
        "3": ({"X-Robots-Tag": "noindex"}, "opted out: noindex"),
        "4": ({"X-Robots-Tag": "none"}, "opted out: none"),
        "5": ({"X-Robots-Tag": "otherbot: nofollow, vlp: noimageai"}, "opted out: noimageai"),
        "6": ({"X-Robots-Tag": "otherbot: noimageai"}, None),
        "7": ({"X-Robots-Tag": "unavailable_after: 2001-02-03"}, "opted out: unavailable_after"),
        "8": ({"tdm-reservation": "1"}, "opted out: tdm-reservation"),
        "9": ({"tdm-reservation": "0", "X-Robots-Tag": "all"}, None),
        "for-people/1": ({}, "opted out: robots.txt"),
        "private/1": ({}, None),
    }
    sent = {path: (picture(), headers) for path, (headers, _) in said.items()}
    rows = rows_of(sent, tmp_path, robots)
    assert {path: row["error_message"] for path, row in rows.items()} == {path: why for path, (_, why) in said.items()}
    for path, row in rows.items():
        ledger, why = row["ledger"], row["error_message"]
        kept = (SUCCESS, None, None) if why is None else ("final", "opted_out", why)
        assert (ledger["outcome"], ledger["failure"], ledger["reason"]) == kept
        assert (row["jpg"] is None, row["sha256"] is None) == (why is not None, why is not None)
        assert row["asked"] == (0 if why == "opted out: robots.txt" else 1), path


def test_who_does_not_honour_opt_outs_has_the_pictures(tmp_path: Path) -> None:
    sent = {
        "1": (picture(), {"X-Robots-Tag": "noai"}),
        "2": (picture(), {"tdm-reservation": "1"}),
        "3": (picture(), {}),
    }
    rows = rows_of(sent, tmp_path, b"User-agent: *\nDisallow: /3", honour_opt_out=False, honour_robots=False)
    assert {row["status"] for row in rows.values()} == {SUCCESS}


def test_what_is_stored_is_what_a_person_would_see(tmp_path: Path) -> None:
    """CMYK, 16 bits, palettes with transparency, animations, and pictures that EXIF turns."""
    deep = np.linspace(0, 65535, 60 * 40).reshape(40, 60).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "PNG")
    turned = {f"turned {n}": picture(96, 64, exif=exif(n)) for n in range(1, 9)}
    bodies = {name.replace(", ", "-"): body for name, body in (BODIES | turned).items()}
    want = {path: seen(body) for path, body in bodies.items()} | {"deep": np.stack([deep >> 8] * 3, -1).astype(int)}
    sent: dict[str, Sent] = {path: (body, {}) for path, body in bodies.items()} | {"deep": (buffer.getvalue(), {})}
    rows = rows_of(sent, tmp_path, resize_mode="no")
    for path, row in rows.items():
        assert row["jpg"] is not None, (path, row["error_message"])
        found = pixels(row["jpg"])
        assert (row["height"], row["width"]) == found.shape[:2] == want[path].shape[:2], path
        assert np.abs(found - want[path]).mean() < 8, path
