"""Pictures that must never be stored: hashes in files of the user's, looked up before anything of a body is written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from vlp_core.curation.hashes import hamming, phash, thumbnail
from vlp_core.errors import UserError, first_line
from vlp_core.identity import sha256_of

REASON = "refused picture"  # of what it was a row says no more

_SHA256 = "^[0-9a-f]{64}$"
_LOOKS = r"^phash:(?P<hash>[0-9a-f]{16})(?:\s+(?P<bits>\d|[1-5]\d|6[0-4]))?$"


class NeverStore:
    """sha256 of bodies, and of pictures as they are stored [N], and what pictures look like: perceptual hashes uint64
    [M] with how many bits may differ.

    32 bytes of memory a sha256. Safe in threads.
    """

    def __init__(self, digests: NDArray[np.bytes_], looks: NDArray[np.uint64], bits: NDArray[np.uint8]) -> None:
        self._digests, self._looks, self._bits = np.sort(digests), looks, bits

    def and_also(self, sha256: pa.Array) -> "NeverStore":
        """These, and those of so many sha256 more."""
        digests = sha256.filter(pc.match_substring_regex(sha256, _SHA256))
        more = _bytes(pa.chunked_array([digests], pa.string())).view("S32")
        return NeverStore(np.concatenate([self._digests, more]), self._looks, self._bits)

    @property
    def by_looks(self) -> bool:
        """Whether pictures have to be looked at."""
        return len(self._looks) > 0

    def has(self, sha256: str) -> bool:
        wanted = np.array([bytes.fromhex(sha256)], "S32")
        at = int(np.searchsorted(self._digests, wanted)[0])
        return at < len(self._digests) and bool(self._digests[at] == wanted[0])

    def is_stored_as(self, jpeg: bytes) -> bool:
        """Whether a picture is one of them as it is stored, whatever body it came in."""
        return len(self._digests) > 0 and self.has(sha256_of(jpeg))

    def resembles(self, jpeg: bytes) -> bool:
        """Whether a picture as it is stored looks like one of them (as the stage `hash` sees it)."""
        return self.by_looks and bool(np.any(hamming(self._looks, np.array([phash(thumbnail(jpeg))])) <= self._bits))


def read_never_store(files: Sequence[Path]) -> NeverStore:
    """Read files of a sha256 (64 hex digits) or `phash:` and 16 hex digits a line, the latter with the number of bits
    that may differ after a space (0 where it is missing). Empty lines and those that begin with # say nothing.

    UserError, which names the file and the line, for one that cannot be read or is no hash.
    """
    if not files:  # without a call into pyarrow, whose first one imports pandas
        return NeverStore(np.empty(0, "S32"), np.empty(0, np.uint64), np.empty(0, np.uint8))
    lines = [_lines(path) for path in files]
    whole = pa.chunked_array([line for _, read in zip(files, lines, strict=True) for line in read.chunks], pa.string())
    digests = whole.filter(pc.match_substring_regex(whole, _SHA256))
    looks = pc.extract_regex(whole.filter(pc.starts_with(whole, "phash:")), _LOOKS)
    hashes, bits = _bytes(pc.struct_field(looks, "hash")), pc.struct_field(looks, "bits")
    bits = pc.if_else(pc.equal(bits, ""), "0", bits).cast(pa.uint8())
    return NeverStore(_bytes(digests).view("S32"), hashes.view(">u8").astype(np.uint64), bits.to_numpy())


def _lines(path: Path) -> pa.ChunkedArray:
    """The lines of a file that say something, in small letters."""
    if path.is_file() and not path.stat().st_size:
        return pa.chunked_array([], pa.string())
    try:
        lines = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=["line"]),
            parse_options=csv.ParseOptions(delimiter="\x01", quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types={"line": pa.string()}, strings_can_be_null=False),
        )["line"]
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"--fetch.never-store {path}: not a readable file of hashes ({first_line(error)}); give a text file of one "
            "sha256 a line"
        ) from error
    lines = pc.utf8_lower(pc.utf8_trim_whitespace(lines))
    says = pc.invert(pc.match_substring_regex(lines, "^(#.*)?$"))
    known = pc.or_(pc.match_substring_regex(lines, _SHA256), pc.match_substring_regex(lines, _LOOKS))
    wrong = pc.index(pc.and_(says, pc.invert(known)), True).as_py()
    if wrong >= 0:
        raise UserError(
            f"--fetch.never-store {path}: line {wrong + 1} is no hash ({_short(lines[wrong].as_py())}); give a sha256 "
            "of 64 hex digits, or phash: and 16 of them, with at most 64 bits that may differ"
        )
    return lines.filter(says)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}…")


def _bytes(texts: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Hex digits of equal length -> bytes [N · length / 2]."""
    found: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
    for chunk in texts.chunks:
        if len(chunk):
            _, offsets, letters = chunk.buffers()
            ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
            digits = np.frombuffer(letters, np.uint8)[ends[0] : ends[-1]]
            nibbles = np.where(digits >= ord("a"), digits - (ord("a") - 10), digits - ord("0"))
            found.append((nibbles[::2] << 4 | nibbles[1::2]).astype(np.uint8))
    return np.concatenate(found)
