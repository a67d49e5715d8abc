"""An HTTP server of bodies in memory, in a process of its own on loopback."""

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection


class _Answers(asyncio.Protocol):
    """Answers `GET /{number}…` with the body of that number, counted round; whatever else is not found."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers, self._read = answers, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head, self._read = self._read[:end].lower(), self._read[end + 4 :]
            number = head.split(b" ", 2)[1].lstrip(b"/").partition(b".")[0]
            found = number.isdigit()
            self._transport.write(self._answers[int(number) % len(self._answers)] if found else _NONE)
            if b"connection: close" in head:
                self._transport.close()


_NONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


async def _serve(bodies: Sequence[bytes], ready: Connection) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
    answers = [head.format(len(body)).encode() + body for body in bodies]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answers(answers), "127.0.0.1", 0, backlog=4096)
    ready.send(server.sockets[0].getsockname()[1])
    # Ends with the process that started it, whose end of the pipe closes.
    await loop.run_in_executor(None, lambda: ready.poll(None))


def _run(bodies: Sequence[bytes], ready: Connection) -> None:
    asyncio.run(_serve(bodies, ready))


@contextmanager
def served(bodies: Sequence[bytes]) -> Iterator[int]:
    """The port at which the bodies are served."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(bodies, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(10)
