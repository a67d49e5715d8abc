"""A data set that is refreshed stage by stage in this process, of a site that changes between two refreshes."""

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web
from PIL import Image

from jobs import changes, ingest, publish, release
from jobs.release_card import Card
from tests.jobs.downloading import fetched, settings
from tests.vlp_core.web.site import Site, picture
from vlp_core.curation.settings import Ingest, Near
from vlp_core.data.releases import QUARANTINE_FILE, RELEASE_LEDGER_FOLDER, Next, Release, newest, read_info
from vlp_core.data.samples import Samples
from vlp_core.data.takedowns import TAKEDOWNS
from vlp_core.identity import sha256_of
from vlp_core.tracker import Silent, Tracker

HOST = "http://pictures.test"
NEAR = Near(alike=1)  # as a refresh has it


def recompressed(body: bytes) -> bytes:
    """The same picture in other bytes."""
    return _drawn(_opened(body), 80)


def greyed(body: bytes) -> bytes:
    """The same shapes without colours."""
    return _drawn(_opened(body).convert("L").convert("RGB"))


def faded(body: bytes) -> bytes:
    """Nearly one grey all over, with what was there faintly on it."""
    return _drawn(Image.blend(Image.new("RGB", _opened(body).size, (128, 128, 128)), _opened(body), 0.08))


def _opened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body)).convert("RGB")


def _drawn(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class World:
    """What the site answers by path: a picture's bytes, a status, bytes with headers, or where it leads; requests are
    counted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self.says: dict[str, bytes | int | str | tuple[bytes, Mapping[str, str]]] = {}
        self.on_asked: Callable[[], Any] = lambda: None
        self.asked: Counter[str] = Counter()
        self.turns = 0
        self.site = Site(self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path == "robots.txt":
            return web.Response(status=404)
        self.asked[path] += 1
        self.on_asked()
        said = self.says[path]
        if isinstance(said, str):
            return web.Response(status=302, headers={"Location": said})
        if isinstance(said, int):
            return web.Response(status=said)
        body, headers = said if isinstance(said, tuple) else (said, {})
        headers = {"ETag": f'"{sha256_of(body)[:16]}"', **headers}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    def pictures(self, *numbers: int) -> None:
        for number in numbers:
            self.says[f"{number}.jpg"] = picture(80, 60, seed=number)

    def take_down(self, **values: str | Sequence[str]) -> Path:
        rows = [(kind, value) for kind, some in values.items() for value in ([some] if isinstance(some, str) else some)]
        kinds, named = zip(*rows, strict=True)
        nothing = pa.nulls(len(rows))
        columns = [kinds, named, nothing, nothing, nothing]
        table = pa.table([pa.array(c) for c in columns], names=TAKEDOWNS.names).cast(TAKEDOWNS)
        self.root.mkdir(exist_ok=True)
        pq.write_table(table, self.root / "takedowns.parquet")
        return self.root / "takedowns.parquet"

    def refresh(
        self,
        rows: Mapping[str, str | Sequence[str]],
        *,
        days: int = 0,
        into: str = "photos",
        columns: Mapping[str, Sequence[Any]] | None = None,
        let_in: tuple[str, ...] = (),
        shard_size: int = 4,
        near: Near = NEAR,
        tracker: Tracker | None = None,
        **fetch: Any,
    ) -> Release:
        """A refresh so many days from now, of a list of paths with their captions and further columns."""
        before = newest(self.root, into)
        self.turns += 1
        name = f"{into}-{self.turns}"
        pairs = self._ingested(rows, columns or {}, name, shard_size)
        file = self.root / "takedowns.parquet"
        as_of = (datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)).isoformat()
        following = Next(
            name=into,
            number=1 if before is None else before.number + 1,
            as_of=as_of,
            before=None if before is None else before.digest,
            folder=None if before is None else before.path,
            takedowns=file,
        )
        takedowns = file if file.exists() else None
        own = settings(self.site, retries=0, **fetch)
        asked, known = pairs, None
        if before is not None or takedowns is not None:
            asked = known = self._folder("changes", name)
            changes.run(
                pairs=pairs,
                next=following,
                recheck_days=90,
                shard_size=shard_size,
                takedowns=takedowns,
                let_in=let_in,
                out=asked,
                tracker=tracker or Silent(),
            )
        download = fetched(asked, self._folder("download", name), own)
        out = self._folder("release", name)
        release.run(
            pairs=pairs,
            download=download,
            next=following,
            fetch=own,
            near=near,
            card=Card(licence="CC BY 4.0"),
            changes=known,
            takedowns=takedowns,
            let_in=let_in,
            out=out,
            tracker=tracker or Silent(),
        )
        publish.run(release=out, next=following, out=self._folder("publish", name), tracker=Silent())
        last = newest(self.root, into)
        assert last is not None
        return last

    def _ingested(
        self, rows: Mapping[str, str | Sequence[str]], columns: Mapping[str, Sequence[Any]], name: str, size: int
    ) -> Path:
        listed = {"url": [f"{HOST}/{path}" for path in rows], "caption": list(rows.values()), **columns}
        many = any(not isinstance(caption, str) for caption in rows.values())
        if many:
            listed["caption"] = [[caption] if isinstance(caption, str) else list(caption) for caption in rows.values()]
        source = self.folder / "list.parquet"
        pq.write_table(pa.table(listed), source)
        out = self._folder("ingest", name)
        ingest.run(sources=source, ingest=Ingest(shard_size=size), out=out, tracker=Silent())
        return out

    def _folder(self, step: str, name: str) -> Path:
        folder = self.root / step / name
        folder.mkdir(parents=True)
        return folder


def contents(release: Release) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By path: the sha256 of a picture's stored bytes, and its captions."""
    samples = Samples.open(release.path)
    urls = {row["uid"]: row["url"] for row in rows_of(release).values()}
    return {
        urls[samples.uid(i)].removeprefix(f"{HOST}/"): (sha256_of(samples.image_bytes(i)), tuple(samples.captions(i)))
        for i in range(len(samples))
    }


def rows_of(release: Release) -> dict[str, dict[str, Any]]:
    """By path."""
    tables = [pq.read_table(path) for path in sorted(release.path.glob("[0-9]*[0-9].parquet"))]
    return {row["url"].removeprefix(f"{HOST}/"): row for table in tables for row in table.to_pylist()}


def ledger_of(release: Release) -> dict[str, dict[str, Any]]:
    urls = {row["uid"]: path for path, row in rows_of(release).items()}
    tables = [pq.read_table(path) for path in sorted((release.path / RELEASE_LEDGER_FOLDER).glob("*.parquet"))]
    return {urls[row["uid"]]: row for table in tables for row in table.to_pylist()}


def changes_of(release: Release) -> dict[str, str]:
    rows = pq.read_table(release.path / "changes.parquet").to_pylist()
    assert len({row["uid"] for row in rows}) == len(rows), "a link changed in one way"
    return {row["url"].removeprefix(f"{HOST}/"): row["change"] for row in rows}


def quarantine_of(release: Release) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(release.path / QUARANTINE_FILE).to_pylist()
    return {row["url"].removeprefix(f"{HOST}/"): row for row in rows}


def counts_of(release: Release) -> dict[str, float]:
    return dict(read_info(release.path)["counts"])
