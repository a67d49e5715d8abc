"""Serves a miniature web over HTTP on loopback, each host and path as recorded."""

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
from aiohttp import web

from vlp_core.errors import UserError
from vlp_core.miniature.web import RETRY_AFTER, WEB_PACK, WEB_TABLE

Result = TypeVar("Result")

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    status: int
    headers: dict[str, str]
    delay: float
    refusals: int
    offset: int
    length: int


class _Answers:
    """What is recorded for each (host, path), and how often a url has refused in this server's life."""

    def __init__(self, folder: Path) -> None:
        for name in (WEB_TABLE, WEB_PACK):
            if not (folder / name).is_file():
                raise UserError(f"{folder}: no {name} in this folder; give the output folder of the corpus stage")
        self._pages = {(row.pop("host"), row.pop("path")): _recorded(row) for row in _rows(folder / WEB_TABLE)}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._pack = os.open(folder / WEB_PACK, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._pack)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        key = (request.host.partition(":")[0].lower(), request.path)
        page = self._pages.get(key)
        if page is None:
            return web.Response(status=404, text="no such page")
        if page.delay:
            await asyncio.sleep(page.delay)
        if self._refused[key] < page.refusals:
            self._refused[key] += 1
            return web.Response(status=503, headers={"Retry-After": str(RETRY_AFTER)})
        body = os.pread(self._pack, page.length, page.offset)
        return web.Response(status=page.status, headers=page.headers, body=body)


def _rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def _recorded(row: dict[str, Any]) -> _Recorded:
    return _Recorded(**(row | {"headers": json.loads(row["headers"])}))


@contextmanager
def serve(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve the web of a corpus folder while the block runs; yields "127.0.0.1:PORT" (0: any free port).

    Which host a url means is told by the request's Host header, so that clients map `*.test` to this address.
    Raises UserError where the folder holds no web or the port is taken.
    """
    answers = _Answers(folder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="miniature-web", daemon=True)
    thread.start()
    try:
        runner = _within(loop, _start(answers, port))
        try:
            yield f"{LOOPBACK}:{runner.addresses[0][1]}"
        finally:
            _within(loop, runner.cleanup())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        answers.close()


def _within(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=10)


async def _start(answers: _Answers, port: int) -> web.ServerRunner:
    runner = web.ServerRunner(web.Server(answers, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        raise UserError(f"port {port} of {LOOPBACK} cannot be had ({error.strerror}); give another") from error
    return runner
