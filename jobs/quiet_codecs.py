"""Keeps what libraries in C print about broken pictures off the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_codecs() -> Iterator[None]:
    """Send what libraries in C print (libpng: "known incorrect sRGB profile") to nowhere; Python's output still shows.

    Acts on the whole process, so it is entered once, around all threads.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    stderr = sys.stderr
    os.dup2(nowhere, 2)
    try:
        if _is_descriptor(stderr, 2):
            sys.stderr = os.fdopen(os.dup(kept), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        yield
    finally:
        if sys.stderr is not stderr:
            sys.stderr.close()
            sys.stderr = stderr
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False
