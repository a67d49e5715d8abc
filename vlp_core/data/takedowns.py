"""Tombstones: what was taken down stays down, whatever list brings it back.

`{root}/takedowns.parquet` has a row for each: a url, a host (with all hosts below it), or the sha256 of a picture's
body.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from yarl import URL

from vlp_core.errors import UserError, first_line
from vlp_core.identity import sha256_of_file
from vlp_core.settings import execution
from vlp_core.uids import Texts

TAKEDOWNS_FILE = "takedowns.parquet"
KINDS = ("url", "host", "sha256")
TAKEDOWNS = pa.schema(
    [
        ("kind", pa.string()),
        ("value", pa.string()),
        ("since", pa.timestamp("s", "UTC")),
        ("reason", pa.string()),
        ("by", pa.string()),
    ]
)
Mask = NDArray[np.bool_]
LONGEST_HOST = 253
"""Characters of a name that DNS takes; a longer one is nobody's."""
_MOST_LETTERS = 4 * LONGEST_HOST  # that may be so many in ASCII

# Scheme and user are passed over: neither makes another picture of it. A fragment never reaches a server.
_URL = (
    r"^[\x00-\x20]*[A-Za-z][A-Za-z0-9+.\-]*:[/\\]*(?:[^/?#\\]*@)?"
    r"(?P<host>\[[^\]/]*\]|[^/?#:\\]*)(?P<port>:[^/?#\\]*)?[/\\]*(?P<rest>[^#]*)"
)
_PASSED_OVER = "[\t\r\n]"  # wherever it stands, by whatever asks for a url
_PLAIN_PORT = "^(:[1-9][0-9]*)?$"


@dataclass(frozen=True, eq=False)
class Takedowns:
    """Tombstones in canonical form, by kind."""

    urls: pa.Array
    hosts: pa.Array
    sha256: pa.Array

    @staticmethod
    def read(path: Path | None) -> "Takedowns":
        """Those of a file; none where there is no file. UserError where it cannot be read."""
        return Takedowns.of(read_takedowns(path))

    @staticmethod
    def of(table: pa.Table) -> "Takedowns":
        """Of rows of TAKEDOWNS."""

        def values(kind: str) -> pa.Array:
            return _whole(table["value"].filter(pc.equal(table["kind"], kind)))

        hosts = pc.binary_join_element_wise("http://", values("host"), "")
        return Takedowns(
            urls=canonical_urls(values("url"))[1].drop_null(),
            hosts=canonical_urls(hosts)[0].drop_null(),
            sha256=pc.utf8_lower(pc.utf8_trim_whitespace(values("sha256"))),
        )

    def __bool__(self) -> bool:
        return bool(len(self.urls) or len(self.hosts) or len(self.sha256))

    def of_urls(self, urls: Texts) -> Mask:
        """bool [N]: which of these urls are taken down, by themselves or with their host; a null is not."""
        if not len(self.urls) and not len(self.hosts):
            return np.zeros(len(urls), dtype=bool)
        hosts, canonical = canonical_urls(urls)
        return _mask(pc.is_in(canonical, value_set=self.urls, skip_nulls=True)) | self._below(hosts)

    def of_pictures(self, sha256: Texts) -> Mask:
        """bool [N]: which of these sha256 are taken down."""
        return _mask(pc.is_in(_whole(sha256), value_set=self.sha256, skip_nulls=True))

    def _below(self, hosts: pa.Array) -> Mask:
        """Which hosts are, or lie below, one that is taken down."""
        if not len(self.hosts):
            return np.zeros(len(hosts), dtype=bool)
        named = pc.dictionary_encode(pc.fill_null(hosts, ""))
        down = np.zeros(len(named.dictionary), dtype=bool)
        for rows, names in domains(named.dictionary):
            down[rows] |= _mask(pc.is_in(names, value_set=self.hosts))
        return down[named.indices.to_numpy()] if len(named) else np.zeros(0, dtype=bool)


@dataclass(frozen=True, kw_only=True)
class Live:
    """Where tombstones are, or may come to be, while something is made: no part of what it is."""

    takedowns: Path | None = execution(None)


class Standing:
    """The tombstones of a file that may come, and grow, meanwhile. For one thread."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._stamp = path, tuple[int, ...]()
        self._down: Takedowns | None = None

    def look(self) -> Takedowns | None:
        """As they are now, the same object while the file is; None while there is none. UserError where it cannot be
        read."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._down = Takedowns.read(self._path)
            self._stamp = stamp
        return self._down


def _stamp(path: Path | None) -> tuple[int, ...]:
    if path is None or not path.exists():
        return ()
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_takedowns(path: Path | None) -> pa.Table:
    """TAKEDOWNS of a file; empty where there is none. UserError where it cannot be read."""
    if path is None or not path.exists():
        return TAKEDOWNS.empty_table()
    try:
        return pq.read_table(path).select(TAKEDOWNS.names).cast(TAKEDOWNS)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(
            f"{path}: not readable as a file of takedowns ({first_line(error)}); put it back as it was"
        ) from error


def digest_of_takedowns(path: Path | None) -> str | None:
    """The sha256 of a file of tombstones; None where there is none."""
    return sha256_of_file(path) if path is not None and path.exists() else None


def domains(hosts: pa.Array) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
    """Hosts, then what they lie below, a label less each time: which of them have one left, and what that is."""
    rows = np.arange(len(hosts))
    while len(rows):
        yield rows, hosts
        hosts = pc.replace_substring_regex(hosts, r"^[^.]*\.?", "")
        left = _mask(pc.not_equal(hosts, ""))
        rows, hosts = rows[left], hosts.filter(pa.array(left))


def canonical_urls(urls: Texts) -> tuple[pa.Array, pa.Array]:
    """The hosts of urls, and host and path as one text: equal where they ask for the same. Null for what is no url, or
    no host that there may be."""
    urls = _whole(urls).cast(pa.string())
    urls = _changed(urls, pc.match_substring_regex(urls, _PASSED_OVER), partial(re.sub, _PASSED_OVER, ""))
    found = pc.extract_regex(urls, pattern=_URL)
    host, port, rest = (pc.struct_field(found, name) for name in ("host", "port", "rest"))
    plain = pc.and_not(pc.string_is_ascii(host), pc.starts_with(host, "["))
    host = pc.utf8_rtrim(pc.ascii_lower(_changed(host, pc.invert(plain), asked_host)), ".")
    rest = _changed(rest, pc.match_substring(rest, "%"), unquote)
    port = _changed(port, pc.invert(pc.match_substring_regex(port, _PLAIN_PORT)), _plain_port)
    port = pc.if_else(pc.is_in(port, value_set=pa.array([":", ":80", ":443"])), "", port)
    letters = pc.utf8_length(host)
    there = pc.and_(pc.greater(letters, 0), pc.less_equal(letters, LONGEST_HOST))
    return pc.if_else(there, host, None), pc.binary_join_element_wise(host, port, "/", rest, "")


def _changed(texts: pa.Array, where: pa.Array, change: Any) -> pa.Array:
    """The few that need it, changed one by one."""
    where = pc.fill_null(where, False)
    few = texts.filter(where).dictionary_encode()
    if not len(few):
        return texts
    changed = pa.array(map(change, few.dictionary.to_pylist()), texts.type)
    return pc.replace_with_mask(texts, where, changed.take(few.indices))


def asked_host(host: str) -> str:
    """A host as the fetcher asks for it; as it is where nobody can."""
    if len(host) > _MOST_LETTERS or (host.isascii() and not host.startswith("[")):
        return host
    with suppress(Exception):  # as in `vlp_core.web.link.parsed`
        return URL(f"http://{host}/").host_subcomponent or host
    with suppress(UnicodeError):
        return host.encode("idna").decode()  # as img2dataset asks, of which pictures may be adopted
    return host


def _plain_port(port: str) -> str:
    try:
        return f":{int(port[1:])}"
    except ValueError:
        return port


def _whole(texts: Texts) -> pa.Array:
    if isinstance(texts, pa.ChunkedArray):
        return pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], texts.type)
    return texts


def _mask(values: pa.Array) -> Mask:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
