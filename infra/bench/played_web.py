"""A web of many hosts on loopback, in a process of its own: slow, dead, hanging, and counting who asks how often."""

import asyncio
import io
import json
import math
import random
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from vlp_core.miniature.names import NameServer, Says

_PHOTOS = 24


@dataclass(frozen=True, kw_only=True)
class Web:
    """What is played."""

    median_s: float
    """Of the seconds until an answer begins; log-normal."""
    spread: float = 0.6
    lookup_s: float = 0.02
    width: int = 640
    height: int = 480


@dataclass(frozen=True)
class Played:
    """Where the web is served: a name server, and the ports of hosts that answer, refuse, or take no connection."""

    nameserver: str
    port: int
    refusing: int
    silent: int


@dataclass(frozen=True)
class Seen:
    """What the servers saw: look-ups by name, and the most requests that one host had in any second."""

    lookups: dict[str, int]
    requests: int
    connections: int
    fastest: int
    cpu_s: float


@contextmanager
def played(web: Web) -> Iterator[tuple[Played, list[Seen]]]:
    """Serve a web while the block runs; what was seen is in the list after it."""
    command = [sys.executable, __file__, json.dumps(asdict(web))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    seen: list[Seen] = []
    try:
        yield Played(**json.loads(process.stdout.readline())), seen
        process.stdin.close()
        seen.append(Seen(**json.loads(process.stdout.readline())))
    finally:
        process.kill()
        process.wait()


def zone(name: str) -> str | Says:
    """Hosts are known by the first label of their names."""
    kind = name.partition("-")[0]
    return {"nameless": Says.NO_SUCH_NAME, "unlooked": Says.NOTHING}.get(kind, "127.0.0.1")


class Pages(asyncio.Protocol):
    """HTTP/1.1 with as little work as there can be: what is measured is who asks."""

    def __init__(self, web: Web, photos: list[bytes], arrivals: dict[bytes, list[float]]) -> None:
        self._web, self._photos, self._arrivals = web, photos, arrivals
        self._loop = asyncio.get_running_loop()
        self._draw = random.Random(len(arrivals))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        head, self._head = self._head, b""
        host = head.partition(b"Host: ")[2].partition(b":")[0]
        self._arrivals[host].append(self._loop.time())
        if host.startswith(b"hanging"):
            return
        photo = self._photos[self._draw.randrange(_PHOTOS)]
        if head.startswith(b"GET /robots.txt"):
            photo = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        wait = self._web.median_s * math.exp(self._web.spread * self._draw.gauss(0, 1))
        self._loop.call_later(wait, self._send, photo)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)  # type: ignore[attr-defined]


def _answers(web: Web) -> list[bytes]:
    """Photos of coarse and fine noise, some 60 kB each at 640 × 480."""
    answers = []
    for seed in range(_PHOTOS):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((web.width, web.height))
        fine = np.asarray(coarse, np.int16) + rng.integers(-12, 12, (web.height, web.width, 3))
        buffer = io.BytesIO()
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        answers.append(head % buffer.tell() + buffer.getvalue())
    return answers


@contextmanager
def _taking_no_connection() -> Iterator[int]:
    """A port where connections neither open nor fail: the queue of a listener that accepts none is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for each in waiting:
                each.close()


def _fastest(arrivals: dict[bytes, list[float]]) -> int:
    """The most requests of any host within one second."""
    most = 0
    for times in arrivals.values():
        first = 0
        for last, time in enumerate(times):
            while times[first] <= time - 1:
                first += 1
            most = max(most, last - first + 1)
    return most


async def _serve(web: Web) -> None:
    loop = asyncio.get_running_loop()
    arrivals: dict[bytes, list[float]] = defaultdict(list)
    photos = _answers(web)
    names, nameserver = await NameServer.start(zone, web.lookup_s)
    connections = 0

    def connected() -> Pages:
        nonlocal connections
        connections += 1
        return Pages(web, photos, arrivals)

    server = await loop.create_server(connected, "127.0.0.1", 0, backlog=4096)
    with socket.socket() as refusing, _taking_no_connection() as silent:
        refusing.bind(("127.0.0.1", 0))
        ports = server.sockets[0].getsockname()[1], refusing.getsockname()[1], silent
        print(json.dumps(asdict(Played(nameserver, *ports))), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
    times = [time for of in arrivals.values() for time in of]
    seen = Seen(dict(names.asked), len(times), connections, _fastest(arrivals), sum(_cpu()))
    print(json.dumps(asdict(seen)), flush=True)


def _cpu() -> tuple[float, float]:
    import os

    return os.times()[:2]


if __name__ == "__main__":
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(Web(**json.loads(sys.argv[1]))))
