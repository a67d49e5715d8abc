"""Which row of which tar each link of a list is in a release: arrays over all links."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.changes import let_in_mask
from jobs.held import PICTURE, Held, read_as, read_columns
from jobs.judged import ADDED, DROP, HIDE, KEEP, REMOVED, TAKE, TAKEN, WAIT, WAITING_FOLDER
from jobs.release_shards import CAPTIONS_FOLDER, HELD_BACK, HIDDEN, SHOWN, Target
from vlp_core.data.layout import LEDGER, iterate_shards
from vlp_core.data.purged import SEEN, SEEN_FILE, TAKEN_URL
from vlp_core.data.releases import CHANGES, QUARANTINE
from vlp_core.data.spread import evenly
from vlp_core.data.takedowns import Mask, Takedowns
from vlp_core.uids import Words, find, names

Rows = NDArray[np.int64]

_FLAGS = np.array([SHOWN, SHOWN, HELD_BACK, HIDDEN], np.int8)  # by codes of Held
_FLAG_OF = {TAKE: SHOWN, WAIT: HELD_BACK, HIDE: HIDDEN}


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The rows of all shards that were fetched: uids uint64 [A, 2], verdicts int8 [A], and the shard of each."""

    shards: list[str]
    starts: Rows
    uids: Words
    verdict: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.verdict)

    @property
    def shard(self) -> Rows:
        return np.repeat(np.arange(len(self.shards)), np.diff(self.starts))

    @staticmethod
    def read(work: Path, shards: list[str]) -> "Asked":
        uids, verdicts, starts = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int8)], [0]
        for name in shards:
            rows = read_columns(work / f"{name}.parquet", ["uid", "verdict"])
            uids.append(names(rows["uid"]))
            verdicts.append(rows["verdict"].to_numpy())
            starts.append(starts[-1] + len(rows))
        return Asked(
            shards=shards,
            starts=np.array(starts, np.int64),
            uids=np.concatenate(uids),
            verdict=np.concatenate(verdicts),
        )


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The tars that have rows of a release, by bucket; `buckets` [T] is the bucket of each."""

    buckets: Rows
    by_bucket: list[tuple[Target, ...]]

    @property
    def count(self) -> int:
        return len(self.by_bucket)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Of each link of the list [N]: the tar where its row stands (those of the release before come first, then what was
    fetched; -1: it is left out) and its flag. Of each row of the release before [M]: what became of it."""

    held: Held
    asked: Asked
    target: Rows
    flag: NDArray[np.int8]
    left: Mask
    """Rows whose link left the list."""
    gone: Mask
    """Rows that are taken down."""
    let_in: Mask
    """Rows that were in quarantine and are not any more, since somebody said so."""
    waits: Mask
    """Rows that were in quarantine and still are."""

    @property
    def unchanged(self) -> int:
        """Links that were asked and left things as they were."""
        return int((self.asked.verdict == KEEP).sum())

    @staticmethod
    def make(pairs: Path, held: Held, asked: Asked, takedowns: Path | None, let_in: tuple[str, ...]) -> "Plan":
        today = np.concatenate(
            [np.empty((0, 2), np.uint64), *(names(t["uid"]) for t in iterate_shards(pairs, ["uid"]))]
        )
        at, answer = find(today, held.uids), find(today, asked.uids)
        shard_of = np.repeat(np.arange(len(held.shards)), np.diff(held.starts))
        target = np.append(shard_of, -1)[at]
        verdict = np.append(asked.verdict, np.int8(KEEP))[answer]
        new = (answer >= 0) & (verdict != KEEP)
        link_gone, picture_gone = held.gone(Takedowns.read(takedowns))
        flags, waiting = _FLAGS[held.codes], held.quarantine()
        allowed = find(names(waiting["uid"].filter(pa.array(let_in_mask(waiting, let_in)))), held.uids)
        flags[allowed] = SHOWN
        flags[picture_gone] = HIDDEN
        flag = np.append(flags, np.int8(SHOWN))[at]
        target[np.append(link_gone, False)[at]] = -1
        target[new] = len(held.shards) + asked.shard[answer[new]]
        for said, shown in _FLAG_OF.items():
            flag[new & (verdict == said)] = shown
        target[new & (verdict == DROP)] = -1
        there, stays = np.zeros(len(held), dtype=bool), np.zeros(len(held), dtype=bool)
        there[at[at >= 0]] = True
        stays[at[(at >= 0) & ~new]] = True
        shown_again = np.zeros(len(held), dtype=bool)
        shown_again[allowed] = True
        return Plan(
            held=held,
            asked=asked,
            target=target,
            flag=flag,
            left=~there,
            gone=(link_gone | picture_gone) & (stays | ~there),
            let_in=shown_again & stays & ~link_gone & ~picture_gone,
            waits=(flags == HELD_BACK) & stays & ~link_gone,
        )

    def targets(self, download: Path, count: int) -> Targets:
        """The tars with rows, numbered in their order, in so many buckets."""
        every = len(self.held.shards) + len(self.asked.shards)
        rows = np.bincount(self.target[self.target >= 0], minlength=every)
        buckets = evenly(rows, count)
        by_bucket: list[list[Target]] = [[] for _ in range(count)]
        for number, target in enumerate(np.flatnonzero(rows).tolist()):
            by_bucket[buckets[target]].append(self._target(number, target, download))
        return Targets(buckets=buckets, by_bucket=[tuple(found) for found in by_bucket])

    def _target(self, number: int, target: int, download: Path) -> Target:
        if target < len(self.held.shards):
            name = self.held.shards[target]
            place = self.held.place(name)
            return Target(number=number, target=target, tar=place.file, size=place.size, held=name, judged=None)
        name = self.asked.shards[target - len(self.held.shards)]
        tar = download / f"{name}.tar"
        return Target(number=number, target=target, tar=str(tar), size=tar.stat().st_size, held=None, judged=name)

    def stayed(self, work: Path) -> Iterator[tuple[pa.Table, Rows]]:
        """LEDGER of rows that were asked and stay where they are, and the tar of each, a shard after the other."""
        shard_of = np.append(np.repeat(np.arange(len(self.held.shards)), np.diff(self.held.starts)), -1)
        for number, name in enumerate(self.asked.shards):
            part = slice(self.asked.starts[number], self.asked.starts[number + 1])
            kept = np.flatnonzero(self.asked.verdict[part] == KEEP)
            target = shard_of[find(self.asked.uids[part][kept], self.held.uids)] if len(kept) else kept
            if len(kept):
                yield read_columns(work / f"{name}.parquet", LEDGER.names).take(pa.array(kept)), target

    def quarantine(self, work: Path) -> pa.Table:
        """QUARANTINE: what still waits of the release before, and what was put there now."""
        before = self.held.quarantine()
        still = before.filter(pa.array(self.waits[find(names(before["uid"]), self.held.uids)]))
        new = (read_as(work / WAITING_FOLDER / f"{name}.parquet", QUARANTINE) for name in self.asked.shards)
        return pa.concat_tables([QUARANTINE.empty_table(), still, *new]).combine_chunks()

    def changes(self, work: Path) -> Iterator[pa.Table]:
        """CHANGES, a table after the other: of what was fetched, of the release before, of captions."""
        for name in self.asked.shards:
            rows = read_columns(work / f"{name}.parquet", CHANGES.names)
            yield rows.filter(pc.is_valid(rows["change"]))
        was = self.held.codes == PICTURE
        yield from self._of_held(self.left & was & ~self.gone, REMOVED)
        yield from self._of_held(self.gone & was, TAKEN)
        yield self._purged()
        yield from self._of_held(self.let_in, ADDED)
        for path in sorted((work / CAPTIONS_FOLDER).glob("*.parquet")):
            yield read_columns(path)

    def _purged(self) -> pa.Table:
        """Pictures that the release before had until a purge took them."""
        folder = self.held.folder
        if folder is None or not (folder / SEEN_FILE).exists():
            return CHANGES.empty_table()
        seen = read_as(folder / SEEN_FILE, SEEN)
        uids = seen["uid"].filter(pc.is_valid(seen["sha256"]))
        said = [pa.array([text] * len(uids), pa.string()) for text in (TAKEN_URL, TAKEN)]
        return pa.table([uids, *said], schema=CHANGES)

    def _of_held(self, mask: Mask, change: str) -> Iterator[pa.Table]:
        for name, _, rows in self.held.parts(np.flatnonzero(mask)):
            found = self.held.table(name, ["uid", "url"]).take(pa.array(rows))
            said = pa.array(np.full(len(found), change), pa.string())
            yield pa.table([found["uid"], found["url"], said], schema=CHANGES)
