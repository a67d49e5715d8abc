"""What is known of urls, hosts and hashes in the folders of a root, each shard that several share looked at once."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.taken import is_of_images, named_links, named_rows
from vlp_core.data.adopted import find_place, read_place
from vlp_core.data.index import Reader
from vlp_core.data.layout import SUCCESS, shard_names
from vlp_core.data.purged import purged_files
from vlp_core.data.stored import index_shard
from vlp_core.data.takedowns import Takedowns, canonical_urls
from vlp_core.identity import sha256_of

_THREADS = 4


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
            self.sha256.update(rows["sha256"].drop_null().to_pylist())
        return pc.sum(pc.equal(rows["status"], SUCCESS), min_count=0).as_py()

    def _add(self, urls: pa.ChunkedArray) -> None:
        hosts, canonical = canonical_urls(urls)
        self.urls.update(canonical.drop_null().to_pylist())
        for host in pc.unique(hosts.drop_null()).to_pylist():
            while host:
                self.hosts.add(host)
                host = host.partition(".")[2]


def shard_digests(folder: Path) -> dict[str, str]:
    """The sha256 of a result's files by name, as its record and what was purged of it say; empty where none does."""
    try:
        files = json.loads((folder / "_RECORD.json").read_text())["files"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: file["sha256"] for name, file in (files | purged_files(folder)).items()}


def bodies_of(folders: Iterable[Path], stored: frozenset[str]) -> dict[str, str]:
    """By the sha256 of pictures as they are stored, that of the bodies they were made of: reads and hashes every
    picture, each file once."""
    shards = [(folder, name) for folder in folders if is_of_images(folder) for name in shard_names(folder)]
    ours = {folder for folder, _ in shards}
    found: dict[str, str] = {}

    def look(shard: tuple[Path, str]) -> None:
        file, index = index_shard(*shard, columns=("sha256", "offset", "length"))
        reader = Reader(open_files=1)
        for row in index.to_pylist():
            digest = sha256_of(reader.read(file, row["offset"], row["length"]))
            if digest in stored:
                found[digest] = row["sha256"]
        reader.close()

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(look, [shard for shard in shards if not _is_elsewhere(*shard, ours)]))
    return found


def _is_elsewhere(folder: Path, name: str, ours: set[Path]) -> bool:
    """Whether a shard's pictures lie in another of these folders, where they are read."""
    place = find_place(folder, name)
    if place is None:
        return False
    lies = read_place(place)
    return lies.files is None and Path(lies.file).parent in ours
