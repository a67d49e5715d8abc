"""Which members of a tar are pictures, and under which keys, by their names alone."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlp_core.data.tar import Member
from vlp_core.data.tar_headers import Run

FORMATS = {"jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp"}
"""What a picture is, as its extension says."""
TAR_INDEX = pa.schema([("key", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("format", pa.string())])

_NAME = 100  # bytes of a header
_DOT = ord(".")
_ENDINGS = tuple(f".{extension}".encode() for extension in FORMATS)
_WIDTHS = np.array([0, *map(len, _ENDINGS)])
_LONGEST = max(map(len, _ENDINGS))
_LAST = np.isin(np.arange(256), list(b"".join(ending[-1:] + ending[-1:].upper() for ending in _ENDINGS)))


def parted_name(name: str) -> tuple[str, str]:
    """The key of a member and its extension in small letters."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def pictures_among(members: Sequence[Member]) -> pa.Table:
    """TAR_INDEX of those that are pictures."""
    parted = ((*parted_name(member.name), member) for member in members)
    found = [
        (key, member.offset, member.length, FORMATS[extension])
        for key, extension, member in parted
        if extension in FORMATS
    ]
    columns = zip(*found, strict=True) if found else [[]] * len(TAR_INDEX)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, TAR_INDEX.types, strict=True)], schema=TAR_INDEX
    )


def pictures_in_run(run: Run) -> pa.Table:
    """TAR_INDEX of those that are pictures, without an object a name."""
    names = run.headers[:, :_NAME]
    sizes = _sizes(names)
    likely = np.flatnonzero(_LAST[names[np.arange(len(names)), sizes - 1]])
    names, sizes = names[likely], sizes[likely]
    endings = _endings(names, sizes)
    pictures = np.flatnonzero(endings)
    chosen, keys = likely[pictures], (sizes - _WIDTHS[endings])[pictures]
    widest = int(keys.max(initial=0))
    text = names[pictures, :widest][np.arange(widest) < keys[:, None]]
    if ((text < ord(" ")) | (text > ord("~")) | (text == _DOT)).any():  # a key ends at its first dot
        return pictures_among([_member(run, int(at)) for at in chosen])
    offsets = np.concatenate([[0], np.cumsum(keys)]).astype(np.int32)
    key = pa.StringArray.from_buffers(len(chosen), pa.py_buffer(offsets), pa.py_buffer(text))
    kinds = pa.array(list(FORMATS.values())).take(pa.array(endings[pictures] - 1))
    return pa.table([key, run.offsets[chosen], run.lengths[chosen], kinds], schema=TAR_INDEX)


def _sizes(names: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The bytes before the first NUL of each name [N, 100]."""
    for width in (32, _NAME):  # most are short
        ends = names[:, :width] == 0
        sizes = ends.argmax(axis=1)
        endless = ~ends[np.arange(len(names)), sizes]
        if not endless.any():
            return sizes
    return np.where(endless, _NAME, sizes)


def _endings(names: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of _ENDINGS, counted from 1, each name [N, 100] of so many bytes [N] has; 0: none."""
    last = names[np.arange(len(names))[:, None], np.maximum(sizes[:, None] + np.arange(-_LONGEST, 0), 0)]
    small = np.where((last >= ord("A")) & (last <= ord("Z")), last + 32, last)
    found = np.zeros(len(names), np.int64)
    for number, ending in enumerate(_ENDINGS, 1):
        found[(small[:, -len(ending) :] == np.frombuffer(ending, np.uint8)).all(axis=1)] = number
    return found


def _member(run: Run, at: int) -> Member:
    name = run.headers[at, :_NAME].tobytes().split(b"\0", 1)[0]
    return Member(name.decode("utf-8", "backslashreplace"), int(run.offsets[at]), int(run.lengths[at]))
