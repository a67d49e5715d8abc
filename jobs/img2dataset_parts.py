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
                body = _as_seen(body, header)
            except cv2.error:  # raised for what is cut short, or wider than OpenCV's own bound
                return None
            jpeg, width, height, original_width, original_height, error = resizer(io.BytesIO(body))
        return None if error else Shrunk(jpeg, width, height, original_width, original_height)

    return shrink


def _as_seen(body: bytes, header: Header) -> bytes:
    """A picture with 8 bits a channel and turned as its EXIF (CIPA DC-008, tag 274) says, as PNG.

    The resizer would clip 16 bits, which leaves white, and passes over the EXIF, and drops it.
    """
    if header.depth <= 8 and header.orientation == 1:
        return body
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is not None and picture.dtype == np.uint16:
        picture = np.right_shift(picture, 8, dtype=np.uint16).astype(np.uint8)
    if picture is None or picture.dtype != np.uint8:  # of numbers beyond 16 bits nobody says what is white
        return b""
    if header.orientation >= 5:
        picture = picture.swapaxes(0, 1)
    if header.orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if header.orientation in (3, 4, 7, 8):
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
