"""The inner loops of `entries`, compiled: import this inside functions only, for numba takes half a second.

A text is read as tokens: runs of letters, marks and digits, and each other sign by itself; white space only parts them.
Entries are a trie of tokens in one hash table, where a node's key is the hash of all tokens on the way to it: so an
entry is found at word boundaries alone, whatever its length, by a look-up a token and one more for each that goes on.
Keys have 64 bits and stand for the texts: with 10^6 nodes a match is false once in 10^13 look-ups.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlp_core.compiled import njit

SPACE, WORD, SIGN = 0, 1, 2
NOT_THERE, ON_THE_WAY = -2, -1  # beside the number of an entry

_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a
_ROOT = np.uint64(0x9E3779B97F4A7C15)


class Texts(NamedTuple):
    """UTF-8 one text after the other, and where each begins and the last ends."""

    offsets: NDArray[np.int64]
    letters: NDArray[np.uint8]


class Trie(NamedTuple):
    """Open addressing, a power of two of slots, 0 for an empty one; and what each code point is."""

    keys: NDArray[np.uint64]
    entries: NDArray[np.int32]
    kinds: NDArray[np.uint8]


@njit(nogil=True)
def learn(entries: Texts, trie: Trie, keys: NDArray[np.uint64]) -> None:
    """Put entries into an empty trie, and write the key of each (0: it has no tokens, or is there already)."""
    tokens = _room(entries)
    for number in range(len(keys)):
        count = _tokens(entries, number, trie.kinds, tokens)
        key, slot = _ROOT, np.int64(-1)
        for token in tokens[:count]:
            key = _mixed(key ^ token)
            slot = _slot(trie.keys, key)
            if trie.keys[slot] == 0:
                trie.keys[slot] = key
                trie.entries[slot] = ON_THE_WAY
        if slot >= 0 and trie.entries[slot] == ON_THE_WAY:
            trie.entries[slot] = number
            keys[number] = key


@njit(nogil=True)
def find(texts: Texts, trie: Trie, seen: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The entries that stand in each text, once each: those of all texts, and where each text's end.

    `seen` [entries] is -1 throughout.
    """
    tokens = _room(texts)
    ends = np.empty(len(texts.offsets) - 1, np.int64)
    found = np.empty(8 * len(ends) + 8, np.int32)
    used = 0
    for number in range(len(ends)):
        total = _tokens(texts, number, trie.kinds, tokens)
        for first in range(total):
            key = _ROOT
            for last in range(first, total):
                key = _mixed(key ^ tokens[last])
                entry = _entry(trie, key)
                if entry == NOT_THERE:
                    break
                if entry >= 0 and seen[entry] != number:
                    seen[entry] = number
                    if used == len(found):
                        found = np.concatenate((found, np.empty_like(found)))
                    found[used] = entry
                    used += 1
        ends[number] = used
    return found[:used].copy(), ends


@njit(nogil=True)
def draw(
    found: NDArray[np.int32],
    ends: NDArray[np.int64],
    keys: NDArray[np.uint64],
    chances: NDArray[np.float64],
    owners: NDArray[np.uint64],
    seed: np.uint64,
    kept: NDArray[np.bool_],
) -> None:
    """Set which texts any of their entries keeps, each with its chance, by (seed, owner, entry's key) alone."""
    start = 0
    for number in range(len(ends)):
        owner = _mixed(seed ^ owners[number])
        for entry in found[start : ends[number]]:
            if (_mixed(owner ^ keys[entry]) >> np.uint64(11)) * 2.0**-53 < chances[entry]:
                kept[number] = True
                break
        start = ends[number]


@njit(nogil=True)
def keys_of(texts: Texts, keys: NDArray[np.uint64]) -> None:
    """64 bits that stand for each text as it is."""
    for number in range(len(keys)):
        key = _BASIS
        for at in range(texts.offsets[number], texts.offsets[number + 1]):
            key = (key ^ np.uint64(texts.letters[at])) * _PRIME
        keys[number] = _mixed(key)


@njit(nogil=True)
def tokens_in(texts: Texts, kinds: NDArray[np.uint8]) -> int:
    """How many tokens all texts have."""
    tokens = _room(texts)
    total = 0
    for number in range(len(texts.offsets) - 1):
        total += _tokens(texts, number, kinds, tokens)
    return total


@njit(nogil=True)
def _room(texts: Texts) -> NDArray[np.uint64]:
    """For the tokens of the longest text."""
    longest = np.int64(0)
    for number in range(len(texts.offsets) - 1):
        longest = max(longest, texts.offsets[number + 1] - texts.offsets[number])
    return np.empty(longest, np.uint64)


@njit(nogil=True)
def _tokens(texts: Texts, number: int, kinds: NDArray[np.uint8], tokens: NDArray[np.uint64]) -> int:
    """Write the hash of each token of a text; how many there are."""
    letters = texts.letters
    at, end = texts.offsets[number], texts.offsets[number + 1]
    count, inside = 0, False
    key = _BASIS
    while at < end:
        lead = letters[at]
        length = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        length = min(length, end - at)
        code = np.int64(lead) if length == 1 else np.int64(lead) & (0xFF >> (length + 1))
        for byte in letters[at + 1 : at + length]:
            code = (code << 6) | (np.int64(byte) & 0x3F)
        kind = kinds[code] if code < len(kinds) else SIGN
        if inside and kind != WORD:
            tokens[count] = key
            count += 1
        inside = kind == WORD
        if kind == SIGN:
            key = _BASIS
        if kind != SPACE:
            for byte in letters[at : at + length]:
                key = (key ^ np.uint64(byte)) * _PRIME
        if kind == SIGN:
            tokens[count] = key
            count += 1
        if kind != WORD:
            key = _BASIS
        at += length
    if inside:
        tokens[count] = key
        count += 1
    return count


@njit(nogil=True)
def _entry(trie: Trie, key: np.uint64) -> int:
    slot = _slot(trie.keys, key)
    return trie.entries[slot] if trie.keys[slot] == key else NOT_THERE


@njit(nogil=True)
def _slot(keys: NDArray[np.uint64], key: np.uint64) -> np.int64:
    """Where a key lies, or the empty slot that it would take."""
    ones = np.uint64(len(keys) - 1)
    slot = key & ones
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & ones
    return np.int64(slot)


@njit(nogil=True)
def _mixed(key: np.uint64) -> np.uint64:
    """Each bit of the result depends on all bits; never 0 (Steele, Lea and Flood, SplitMix, OOPSLA 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    key = key ^ (key >> np.uint64(31))
    return key if key != 0 else np.uint64(1)
