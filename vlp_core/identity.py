"""Names that last: what a url, a picture, a value or a random draw is known by."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def uid_of(url: str) -> str:
    """The 128-bit hash of a url, 32 hex digits."""
    return hashlib.blake2b(url.encode(), digest_size=16).hexdigest()


def sha256_of(body: bytes) -> str:
    """The identity of a picture: sha256 of its bytes as they came."""
    return hashlib.sha256(body).hexdigest()


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces; NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """sha256 of a JSON-like value in its canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def key_of(*parts: Any) -> int:
    """64 bits that depend on all parts and on nothing else (not on the process, the rank or the time)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(*parts: Any) -> np.random.Generator:
    """A random generator keyed by its parts, such as (seed, epoch, uid)."""
    return np.random.Generator(np.random.PCG64(key_of(*parts)))
