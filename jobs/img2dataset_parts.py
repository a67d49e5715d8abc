"""The parts of img2dataset that are used here, and what they need to run in threads and to give equal bytes.

Its resizer shrinks and encodes, its WebDataset writer lays out the tar. Nothing else imports img2dataset.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import Header

LARGE = 8_000_000  # pixels; such pictures are decoded one at a time
Write = Callable[[bytes, str, str | None, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Shrunk:
    """A picture as it is stored: JPEG bytes, with its size before and after in pixels."""

    jpeg: bytes
    width: int
    height: int
    original_width: int
    original_height: int


def make_shrink(fetch: Fetch) -> Callable[[bytes, Header], Shrunk | None]:
    """img2dataset's resizer as a function of a body and its header, safe in threads; None: it cannot be decoded."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import cv2
    from img2dataset import resizer as module

    # It redirects the process's stdout and stderr around every picture, which two threads cannot do at once:
    # `quiet_codecs` does it once for all of them.
    module.SuppressStdoutStderr = nullcontext
    cv2.setNumThreads(1)
    resizer = module.Resizer(
        image_size=fetch.image_size,
        resize_mode=fetch.resize_mode,
        resize_only_if_bigger=fetch.resize_only_if_bigger,
        encode_quality=fetch.encode_quality,
    )

    one_large = Lock()  # with an alpha channel the resizer takes up to 70 bytes a pixel

    def shrink(body: bytes, header: Header) -> Shrunk | None:
        with one_large if header.width * header.height > LARGE else nullcontext():
            try:
                body = _upright(_eight_bits(body) if header.depth > 8 else body, header.orientation)
            except cv2.error:  # raised for what is cut short, or wider than OpenCV's own bound
                return None
            jpeg, width, height, original_width, original_height, error = resizer(io.BytesIO(body))
        return None if error else Shrunk(jpeg, width, height, original_width, original_height)

    return shrink


def _eight_bits(body: bytes) -> bytes:
    """A picture of 16 bits a channel with 8: the resizer would clip them, which leaves white."""
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION)
    return b"" if picture is None else cv2.imencode(".bmp", picture)[1].tobytes()


def _upright(body: bytes, orientation: int) -> bytes:
    """A picture turned as its EXIF (CIPA DC-008, tag 274) says: the resizer passes over it, and drops it."""
    if orientation == 1:
        return body
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        return b""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    # not as BMP, which keeps no transparency
    return cv2.imencode(".png", np.ascontiguousarray(picture), [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()


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


def tar_writer(folder: Path, shard: int) -> AbstractContextManager[Write]:
    """`write(jpeg, key, caption, meta)` into `{folder}/{shard:05d}.tar` as img2dataset lays it out; times are zero."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from img2dataset.writer import WebDatasetSampleWriter

    @contextmanager
    def opened() -> Iterator[Write]:
        writer = WebDatasetSampleWriter(shard, str(folder), True, 5, pa.schema([("key", pa.string())]), "jpg")
        # The table is written by Arrow in one piece, so that columns that came along keep their types.
        writer.buffered_parquet_writer.close()
        writer.buffered_parquet_writer = _NoTable()
        writer.tarwriter.mtime = 0
        try:
            yield writer.write
        finally:
            writer.close()

    return opened()


class _NoTable:
    def write(self, row: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...
