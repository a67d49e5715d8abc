"""Which folders of pictures, and which selections, have or had a link or a picture."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.held import read_columns
from jobs.known import shard_digests, shards_once
from jobs.taken import columns_there
from vlp_core.data.layout import SELECTION_FILE, SUCCESS, shard_names
from vlp_core.data.purged import SEEN, SEEN_FILE
from vlp_core.data.releases import QUARANTINE_FILE, QUARANTINED
from vlp_core.data.takedowns import Takedowns, canonical_urls
from vlp_core.data.tombstones import kind_of
from vlp_core.identity import uid_of

PICTURE, PURGED, WITHOUT, COPY = "picture", "purged since", "no picture", "its picture under another link"
WAITS = "waits in quarantine"
_LONGEST = 10_000  # characters of a pattern, for which RE2 has 8 MB
_WRITTEN_OTHERWISE = r"[\t\r\n\[]"  # than its host is asked for, as with letters that are not ASCII
_RANK = (PICTURE, WAITS, PURGED, WITHOUT)
_HOW = {SUCCESS: PICTURE, PURGED: PURGED, QUARANTINED: WAITS}


@dataclass(kw_only=True)
class Term:
    """What is asked for: a url, a host, a uid or a sha256; `uids` and `sha256` are what it is known by, and grow."""

    text: str
    uids: set[str] = field(default_factory=set)
    sha256: set[str] = field(default_factory=set)
    link: str | None = None
    """The uid of a url's canonical form."""
    host: bool = False
    """Whether it stands for all links of a host and of those below it."""

    @staticmethod
    def of(text: str) -> "Term":
        if len(text) in (32, 64) and not set(text.lower()) - set("0123456789abcdef"):
            named = {text.lower()}
            return Term(text=text, uids=named) if len(text) == 32 else Term(text=text, sha256=named)
        if kind_of(text) == "host":
            return Term(text=text, host=True)
        canonical = _canonical(text)
        return Term(text=text, uids={uid_of(text)}, link=None if canonical is None else uid_of(canonical))


def _canonical(url: str) -> Any:
    return canonical_urls(pa.array([url], pa.string()))[1][0].as_py()


def _likely(hosts: Collection[str]) -> Callable[[pa.ChunkedArray], pa.ChunkedArray]:
    """Finds the urls that may be of these hosts, at a tenth of the cost of making all canonical."""
    pattern = "|".join(map(re.escape, hosts))

    def likely(urls: pa.ChunkedArray) -> pa.ChunkedArray:
        if len(pattern) > _LONGEST:
            return pc.is_valid(urls)
        named = pc.match_substring_regex(urls, pattern, ignore_case=True)
        otherwise = pc.match_substring_regex(urls, _WRITTEN_OTHERWISE)
        return pc.or_(named, pc.or_(otherwise, pc.invert(pc.string_is_ascii(urls))))

    return likely


class Looker:
    """Looks into folders for terms; a shard that several folders share is read once."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = terms
        self._shards: dict[str, list[pa.Table]] = {}
        self._known: tuple[int, ...] = ()
        self._names: tuple[pa.Array, pa.Array]

    def spellings(self, folders: Iterable[Path]) -> None:
        """Learn by which uids the urls are known that are written otherwise in the lists or answered for another one,
        and those of hosts. Reads all urls of folders of images."""
        links: dict[str, list[Term]] = {}
        for term in self._terms:
            if term.link is not None:
                links.setdefault(_canonical(term.text), []).append(term)
        hosts = [
            (term, Takedowns.of(pa.table({"kind": ["host"], "value": [term.text]})))
            for term in self._terms
            if term.host
        ]
        wanted = pa.array(list(links), pa.string())
        named = [host for _, below in hosts for host in below.hosts.to_pylist()]
        likely = _likely({*named, *(url.partition("/")[0].partition(":")[0] for url in links)})
        for folder, name in shards_once(folders):
            path = folder / f"{name}.parquet"
            rows = read_columns(path, columns_there(path, ("uid", "url", "final_url")))
            for column in (name for name in rows.column_names if name != "uid"):
                here = rows.select(["uid", column]).filter(likely(rows[column]))
                uids, urls = here["uid"], here[column]
                for term, below in hosts:
                    term.uids.update(uids.filter(pa.array(below.of_urls(urls))).to_pylist())
                canonical = canonical_urls(urls)[1]
                found = pc.is_in(canonical, value_set=wanted)
                for uid, url in zip(uids.filter(found).to_pylist(), canonical.filter(found).to_pylist(), strict=True):
                    for term in links[url]:
                        term.uids.add(uid)

    def images(self, folder: Path) -> dict[str, str]:
        """By term what a folder of images has of it: a picture, in use or waiting in quarantine, the link without one,
        or what was purged of it."""
        digests = shard_digests(folder)
        tables = [self._purged(folder), *self._waiting(folder)]
        for name in shard_names(folder):
            key = digests.get(f"{name}.parquet", f"{folder / name}")
            if key not in self._shards:
                self._shards[key] = [self._named(folder / f"{name}.parquet", ["uid", "sha256", "status"])]
            tables += self._shards[key]
        return self._told(tables)

    def selection(self, folder: Path) -> dict[str, str]:
        """By term what a selection has, or had, of it."""
        chosen = self._named(folder / SELECTION_FILE, ["uid", "sha256"])
        chosen = chosen.append_column("status", pa.array([SUCCESS] * len(chosen), pa.string()))
        return self._told([self._purged(folder), chosen])

    def _purged(self, folder: Path) -> pa.Table:
        path = folder / SEEN_FILE
        seen = pq.read_table(path, schema=SEEN) if path.exists() else SEEN.empty_table()
        for term in self._terms:
            if term.link is not None:
                term.uids.update(seen["uid"].filter(pc.equal(seen["link"], term.link)).to_pylist())
        found = self._filtered(seen.select(["uid", "sha256"]))
        return found.append_column("status", pa.array([PURGED] * len(found), pa.string()))

    def _waiting(self, folder: Path) -> Iterator[pa.Table]:
        """The pictures that a release has in quarantine, and those that were there before them."""
        path = folder / QUARANTINE_FILE
        for column in ("sha256", "before_sha256") if path.exists() else ():
            found = self._named(path, ["uid", column]).rename_columns(["uid", "sha256"])
            yield found.append_column("status", pa.array([QUARANTINED] * len(found), pa.string()))

    def _named(self, path: Path, columns: Sequence[str]) -> pa.Table:
        try:
            with pq.ParquetFile(path) as file:
                groups = [file.read_row_group(number, columns=list(columns)) for number in range(file.num_row_groups)]
        except (OSError, pa.ArrowException):
            groups = [read_columns(path, columns)]  # tells what is wrong
        schema = pa.schema([(name, pa.string()) for name in columns])
        return pa.concat_tables([schema.empty_table(), *(self._filtered(group.cast(schema)) for group in groups)])

    def _filtered(self, table: pa.Table) -> pa.Table:
        uids, bodies = self._wanted()
        named = pc.or_(pc.is_in(table["uid"], value_set=uids), pc.is_in(table[1], value_set=bodies))
        return table.filter(named)

    def _wanted(self) -> tuple[pa.Array, pa.Array]:
        """All uids and sha256 of the terms, put together anew where they have grown: a host has many."""
        known = tuple(sum(map(len, some)) for some in ([t.uids for t in self._terms], [t.sha256 for t in self._terms]))
        if known != self._known:
            some = ((term.uids for term in self._terms), (term.sha256 for term in self._terms))
            uids, bodies = (pa.array(sorted(set().union(*names)), pa.string()) for names in some)
            self._known, self._names = known, (uids, bodies)
        return self._names

    def _told(self, tables: Sequence[pa.Table]) -> dict[str, str]:
        rows = [row for table in tables for row in table.to_pylist()]
        told: dict[str, str] = {}
        for term in self._terms:
            own = [row for row in rows if row["uid"] in term.uids]
            term.sha256.update(row["sha256"] for row in own if row["sha256"])
            copies = [row for row in rows if row["uid"] not in term.uids and row["sha256"] in term.sha256]
            kinds = {_HOW.get(row["status"], WITHOUT) for row in (own if term.uids else copies)}
            said = [kind for kind in _RANK if kind in kinds][:1]
            if term.uids and any(row["status"] == SUCCESS for row in copies):
                said.append(COPY)
            if said:
                told[term.text] = ", ".join(said)
        return told
