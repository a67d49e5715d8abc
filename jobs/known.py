"""What is known of urls, hosts and hashes in the folders of a root, each shard that several share looked at once."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.held import read_columns
from jobs.taken import columns_there, is_of_images, named_links, named_rows
from vlp_core.data.adopted import find_place, read_place
from vlp_core.data.index import Reader
from vlp_core.data.layout import SUCCESS, shard_names
from vlp_core.data.purged import purged_files
from vlp_core.data.stored import index_shard
from vlp_core.data.takedowns import Takedowns, canonical_urls, domains
from vlp_core.identity import sha256_of
from vlp_core.uids import Texts

_THREADS = 4
_INDEXED = ("sha256", "offset", "length")


@dataclass(kw_only=True)
class Known:
    """Which of what tombstones name there is, in canonical form."""

    down: Takedowns
    urls: set[str] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    sha256: set[str] = field(default_factory=set)
    _pictures: dict[str, int] = field(default_factory=dict)
    """By the sha256 of a shard's file, those of them that it has."""

    def look(self, folder: Path) -> int:
        """Look into a folder of images or of pairs; how many pictures of those named it has. UserError where a shard
        cannot be read."""
        for rows in named_links(folder, self.down):
            self._add(rows["url"])
        digests, pictures = shard_digests(folder), 0
        for name in shard_names(folder) if is_of_images(folder) else ():
            key = digests.get(f"{name}.parquet") or f"{folder / name}"
            if key not in self._pictures:
                self._pictures[key] = self._rows(folder, name)
            pictures += self._pictures[key]
        return pictures

    def has(self, named: pa.Table) -> list[bool]:
        """Of each row of `kind` and `value`, in canonical form, whether something is called so."""
        of = {"url": self.urls, "host": self.hosts, "sha256": self.sha256}
        return [
            value in of[kind] for kind, value in zip(named["kind"].to_pylist(), named["key"].to_pylist(), strict=True)
        ]

    def _rows(self, folder: Path, name: str) -> int:
        rows = named_rows(folder, name, self.down)
        for column in ("url", "final_url"):
            if column in rows.column_names:
                self._add(rows[column])
        if "sha256" in rows.column_names:
            self.sha256 |= _among(rows["sha256"], self.down.sha256)
        return pc.sum(pc.equal(rows["status"], SUCCESS), min_count=0).as_py()

    def _add(self, urls: pa.ChunkedArray) -> None:
        hosts, canonical = canonical_urls(urls)
        self.urls |= _among(canonical, self.down.urls)
        for _, names in domains(pc.unique(hosts.drop_null())):
            self.hosts |= _among(names, self.down.hosts)


def _among(texts: Texts, named: pa.Array) -> set[str]:
    """Those that are named: lists may have ill-willed hosts of a hundred labels each."""
    return set(texts.filter(pc.is_in(texts, value_set=named, skip_nulls=True)).to_pylist())


def shard_digests(folder: Path) -> dict[str, str]:
    """The sha256 of a result's files by name, as its record and what was purged of it say; empty where none does."""
    try:
        files = json.loads((folder / "_RECORD.json").read_text())["files"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: file["sha256"] for name, file in (files | purged_files(folder)).items()}


def shards_once(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The shards of folders by their names; of those that are the same file the first."""
    found = set[str]()
    for folder in folders:
        digests = shard_digests(folder)
        for name in shard_names(folder):
            key = digests.get(f"{name}.parquet", f"{folder / name}")
            if key not in found:
                found.add(key)
                yield folder, name


def bodies_of(folders: Iterable[Path], stored: frozenset[str]) -> dict[str, set[str]]:
    """By the sha256 of pictures as they are stored, those of the bodies they were made of.

    Where each is the sha256 of a body too, only pictures as long as those are read and hashed, else every one; each
    file once.
    """
    shards = [(folder, name) for folder in folders if is_of_images(folder) for name in shard_names(folder)]
    ours = {folder for folder, _ in shards}
    shards = [shard for shard in shards if not _is_elsewhere(*shard, ours)]
    found: dict[str, set[str]] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        lengths = _lengths_of(stored, threads.map(_bodies_in, shards))

        def look(shard: tuple[Path, str]) -> None:
            file, index = index_shard(*shard, columns=_INDEXED)
            if lengths is not None:
                index = index.filter(pc.is_in(index["length"], value_set=pa.array(lengths, index["length"].type)))
            reader = Reader(open_files=1)
            for row in index.to_pylist():
                digest = sha256_of(reader.read(file, row["offset"], row["length"]))
                if digest in stored:
                    found.setdefault(digest, set()).add(row["sha256"])
            reader.close()

        list(threads.map(look, shards))
    return found


def _bodies_in(shard: tuple[Path, str]) -> pa.Table:
    folder, name = shard
    path = folder / f"{name}.parquet"
    return read_columns(path, columns_there(path, ("sha256", "bytes")))


def _lengths_of(bodies: frozenset[str], shards: Iterable[pa.Table]) -> list[int] | None:
    """How long these bodies are, and so a picture that is stored as one of them; None where of one nobody says it."""
    lengths: dict[str, int] = {}
    for rows in shards:
        if {"sha256", "bytes"} <= set(rows.column_names):
            said = rows.filter(pc.is_in(rows["sha256"], value_set=pa.array(bodies, pa.string()))).drop_null()
            lengths |= zip(said["sha256"].to_pylist(), said["bytes"].to_pylist(), strict=True)
    return sorted(set(lengths.values())) if lengths.keys() == bodies else None


def _is_elsewhere(folder: Path, name: str, ours: set[Path]) -> bool:
    """Whether a shard's pictures lie in another of these folders, where they are read."""
    place = find_place(folder, name)
    if place is None:
        return False
    lies = read_place(place)
    return lies.files is None and Path(lies.file).parent in ours
