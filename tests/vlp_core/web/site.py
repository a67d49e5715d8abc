"""A real HTTP server on loopback in a thread, and canaries that notice whoever connects."""

import asyncio
import io
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Self

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def picture(width: int = 64, height: int = 48, *, kind: str = "JPEG", seed: int = 0, **options: object) -> bytes:
    """An encoded picture of coarse noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


class Site:
    """Answers every path but robots.txt with `handler`, which may be set later; counts them, keeps Host headers."""

    def __init__(self, handler: Handler | None = None, host: str = "127.0.0.1") -> None:
        self.handler, self._host = handler, host
        self.robots: tuple[int, bytes] | None = (404, b"")  # status and body of robots.txt, None: the handler's
        self.robots_asked: list[str] = []  # Host headers
        self.seen: Counter[str] = Counter()
        self.hosts: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.address}/{path}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._count)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, self._host, 0).start())
        self.port = runner.addresses[0][1]
        started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _count(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt" and self.robots is not None:
            self.robots_asked.append(request.headers["Host"])
            return web.Response(status=self.robots[0], body=self.robots[1])
        self.seen[request.match_info["path"]] += 1
        self.hosts.append(request.headers["Host"])
        assert self.handler is not None
        return await self.handler(request)


class Canary:
    """A listening socket that must see nobody."""

    def __init__(self, host: str) -> None:
        try:
            self._socket = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            pytest.skip(f"this machine has no address {host}: {error}")
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def disturbed(self) -> bool:
        """Whether somebody has connected; connections wait in the kernel's queue until they are looked for."""
        try:
            self._socket.accept()
        except BlockingIOError:
            return False
        return True
