"""A site of pictures, lists of its links, and the fetching of them in this process."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web

from jobs.download_shard import Shard
from jobs.fetch_worker import FetchWorker
from jobs.journal import Journal
from tests.forks import FORKS
from tests.vlp_core.web.site import Site, picture
from vlp_core.data.layout import PAIRS, shard_names
from vlp_core.identity import uid_of
from vlp_core.tracker import Silent
from vlp_core.web.settings import Fetch


async def answer(request: web.Request) -> web.StreamResponse:
    """`7.jpg` is a picture of its own, what begins with "dead" is gone."""
    path = request.match_info["path"]
    if path.startswith("dead"):
        return web.Response(status=404)
    return web.Response(body=body_of(path))


def body_of(path: str) -> bytes:
    return picture(400, 300, seed=int(path.partition(".")[0]))


class Listener(Silent):
    """Keeps what the stage said of its progress, and what it warned of."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int | None, int, str]] = []
        self.warned: list[str] = []

    def progress(self, done: int, total: int | None, *, failed: int = 0, unit: str = "rows") -> None:
        self.said.append((done, total, failed, unit))

    def warn(self, text: str) -> None:
        self.warned.append(text)


def write_pairs(folder: Path, *shards: list[str], host: str = "pictures.test", **extra: Any) -> Path:
    """A folder of pairs of these paths of the site, with two captions each and columns that came along: a value for
    all rows, or a list of one a row."""
    folder.mkdir()
    for number, paths in enumerate(shards):
        urls = [f"http://{host}/{path}" for path in paths]
        columns = {
            "uid": [uid_of(url) for url in urls],
            "url": urls,
            "captions": [[f"the first of {url}", "ünd another"] for url in urls],
            "source": ["list.csv"] * len(urls),
        }
        table = pa.table(columns).cast(PAIRS)
        for name, value in extra.items():
            table = table.append_column(name, pa.array(value if isinstance(value, list) else [value] * len(urls)))
        pq.write_table(table, folder / f"{number:05d}.parquet")
    return folder


def settings(site: Site, **options: Any) -> Fetch:
    own: dict[str, Any] = {"resolve": (f"*.test={site.address}",), "per_host_rate": 0.0, "per_host": 16, "workers": 0}
    return Fetch(**{**own, "pause_s": 0.01, "deadline_s": 10.0, **options})


def shards_of(pairs: Path, out: Path, digits: int = 4) -> list[Shard]:
    names = shard_names(pairs)
    return [Shard(name=name, pairs=pairs / f"{name}.parquet", out=out, digits=digits) for name in names]


def fetched(pairs: Path, out: Path, fetch: Fetch, takedowns: Path | None = None) -> Path:
    """All shards of a list, made in this process."""
    FetchWorker(fetch, takedowns=takedowns).run(shards_of(pairs, out))
    return out


def killed_publishing(pairs: Path, out: Path, fetch: Fetch, files: int) -> None:
    """Fetch in a process of its own that is killed when so many files of the shard have been published."""
    process = FORKS.Process(target=_dying, args=(pairs, out, fetch, files))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL and len(list(out.glob("0*"))) == files


def _dying(pairs: Path, out: Path, fetch: Fetch, files: int) -> None:
    published = 0

    def die() -> None:
        if published == files:
            os.kill(os.getpid(), signal.SIGKILL)

    replace = Path.replace

    def replacing(path: Path, target: Path) -> Path:
        nonlocal published
        if Path(target).parent == out:
            die()
            published += 1
        return replace(path, target)

    Path.replace = replacing  # type: ignore[method-assign]
    Journal.remove = lambda _: die()  # type: ignore[method-assign]
    fetched(pairs, out, fetch)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def names(numbers: Iterable[int]) -> list[str]:
    return [f"{number}.jpg" for number in numbers]


def known_paths(pairs: Path, out: Path) -> set[str]:
    """The paths whose answers are on disk, published or in a journal."""
    known: set[str] = set()
    for shard in shards_of(pairs, out):
        rows = pq.read_table(shard.pairs, columns=["uid", "url"]).to_pylist()
        try:
            text = (shard.work / "journal").read_text()
        except FileNotFoundError:
            text = ""
        whole = text[: text.rfind("\n") + 1]
        known |= {row["url"].rpartition("/")[2] for row in rows if shard.is_published or row["uid"] in whole}
    return known
