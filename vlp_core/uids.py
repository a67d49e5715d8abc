"""Names in hex (uids, sha256) as numbers: whole columns are sorted, joined and drawn by without an object a row."""

import hashlib
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.identity import key_of

Texts: TypeAlias = pa.Array | pa.ChunkedArray
Words = NDArray[np.uint64]

UID_DIGITS = 32
SHA256_DIGITS = 64


def words(texts: Texts, digits: int = UID_DIGITS) -> Words | None:
    """uint64 [N, digits / 16], big-endian, of texts of so many lower-case hex digits; None where one is not."""
    parts = [np.empty((0, digits // 16), np.uint64)]
    for chunk in _chunks(texts):
        part = _chunk_words(chunk, digits)
        if part is None:
            return None
        parts.append(part)
    return np.concatenate(parts)


def _chunks(texts: Texts) -> list[pa.Array]:
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return [chunk for chunk in chunks if len(chunk)]


def _chunk_words(chunk: pa.Array, digits: int) -> Words | None:
    lengths, text = lengths_and_text(chunk)
    if chunk.null_count or (lengths != digits).any():
        return None
    body = text.to_pybytes()
    try:
        packed = bytes.fromhex(body.decode("ascii"))
    except ValueError:
        return None
    if packed.hex().encode() != body:  # upper case, or spaces
        return None
    return np.frombuffer(packed, ">u8").reshape(len(chunk), -1).astype(np.uint64)


def lengths_and_text(chunk: pa.Array) -> tuple[NDArray[Any], pa.Buffer]:
    """The bytes of each text of an array (int32 or int64 [N]; a null's are none), and all of them, as UTF-8."""
    _, offsets, data = chunk.buffers()
    kind = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
    ends = np.frombuffer(offsets, kind, count=chunk.offset + len(chunk) + 1)[chunk.offset :]
    text = pa.py_buffer(b"") if data is None else data.slice(int(ends[0]), int(ends[-1] - ends[0]))
    return np.diff(ends), text


def keys(texts: Texts, digits: int = UID_DIGITS) -> Words:
    """uint64 [N]: the first 64 bits of each name; of names that are not hex throughout, a key of each text."""
    return names(texts, digits)[:, 0]


def names(texts: Texts, digits: int = UID_DIGITS) -> Words:
    """uint64 [N, 2]: the first 128 bits of each name, or a key of each text (twice) where not all are hex."""
    found = words(texts, digits)
    if found is not None:
        return np.ascontiguousarray(found[:, :2])
    made = np.fromiter((key_of(text) for text in texts.to_pylist()), np.uint64, len(texts))
    return np.repeat(made[:, None], 2, axis=1)


def draws(texts: Texts, *parts: Any) -> Words:
    """uint64 [N]: what is drawn for each uid, by these parts (such as a seed) and the uid alone."""
    return mix(keys(texts) ^ np.uint64(key_of(*parts)))


def mix(values: Words) -> Words:
    """The finaliser of SplitMix64 (Steele et al., 2014): neighbouring keys give unrelated draws."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def find(wanted: Words, among: Words) -> NDArray[np.int64]:
    """int64 [N]: where each name [N, 2] first stands in `among` [M, 2], -1 where it does not.

    Of two in `among` that agree in 64 bits and not in the others the first alone is found: 10⁷ have such a pair with
    probability 3e-6.
    """
    found = _places(pa.array(wanted[:, 0]), pa.array(among[:, 0]))
    at = np.flatnonzero(found >= 0)
    found[at[wanted[at, 1] != among[found[at], 1]]] = -1
    return found


def positions(texts: Texts, among: Texts, digits: int = UID_DIGITS) -> NDArray[np.int64]:
    """int64 [N]: where each text first stands in `among`, -1 where it does not."""
    mine, theirs = words(texts, digits), words(among, digits)
    if mine is not None and theirs is not None:
        return find(mine, theirs)
    return _places(_one(texts), _one(among))


def _places(values: pa.Array, among: pa.Array) -> NDArray[np.int64]:
    return pc.fill_null(pc.index_in(values, value_set=among), -1).to_numpy().astype(np.int64)


def _one(texts: Texts) -> pa.Array:
    large = texts.cast(pa.large_string())
    return large.combine_chunks() if isinstance(large, pa.ChunkedArray) else large


def firsts(rows: Words) -> NDArray[np.int64]:
    """int64 [N]: the first row that has the same words [N, W] as each row."""
    order, same = _sorted(rows)
    new = np.append(True, ~same) if len(rows) else same
    first = np.empty(len(rows), np.int64)
    first[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return first


def _sorted(rows: Words) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The order [N] of the rows, equal ones as they stand, and whether each is followed by its equal [N - 1].

    The first words' upper bits and the rows' numbers are sorted as one word, without a look elsewhere; then the few
    whose bits are the same though they differ.
    """
    bits = np.uint64(len(rows).bit_length())
    packed = rows[:, 0] >> bits << bits | np.arange(len(rows), dtype=np.uint64)
    packed.sort()
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    same = np.diff(packed >> bits) == 0
    tied = np.flatnonzero(same)
    mixed = tied[_differ(rows, order, tied)]
    if len(mixed):
        run = np.cumsum(np.append(0, ~same))
        at = np.flatnonzero(np.isin(run, run[mixed], kind="table"))
        order[at] = order[at][np.lexsort((*rows[order[at]].T[::-1], run[at]))]
        at = at[:-1][same[at[:-1]]]
        same[at] = ~_differ(rows, order, at)
    return order, same


def _differ(rows: Words, order: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the rows at these places of the order and those behind them have other words."""
    return (rows[order[places]] != rows[order[places + 1]]).any(axis=1)


def digest_of_texts(texts: Texts) -> str:
    """sha256 of a column of texts one after the other, whatever its chunks."""
    whole = hashlib.sha256()
    hash_texts(whole, texts)
    return whole.hexdigest()


def hash_texts(whole: "hashlib._Hash", texts: Texts) -> None:
    """Feed a hash with the next texts of a column."""
    for chunk in _chunks(texts):
        whole.update(lengths_and_text(chunk)[1])
