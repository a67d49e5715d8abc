#!/usr/bin/env python
"""A data set that is kept alive: fetch of its lists what is new or may now succeed, and give it a new release.

pipelines/refresh_data.py --source pairs.parquet --into photos --root /data/runs          # photos@1, then @2, …
pipelines/pretrain_clip.py --source releases:photos@2 --root /data/runs                   # any pipeline reads them
pipelines/refresh_data.py --into photos --verify --root /data/runs                        # are all of them sound?
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from jobs import changes, download, ingest, publish, release
from jobs.never_store import read_never_store
from jobs.release_card import Card
from pipelines.collect import Coming, check_keep, collect, rehearse
from pipelines.series import Lists, Series, Turn
from pipelines.sources import check_lists, sort_out
from pipelines.workflow.cli import Invocation, Workflow, make_root, parse, root_of, run_pipeline
from pipelines.workflow.ending import OK, UsageError, disk_faults, ended
from pipelines.workflow.outside import Digests
from pipelines.workflow.plan import folders_begun, folders_made
from pipelines.workflow.purging import check_no_purge
from pipelines.workflow.released import check_all, read_in_place
from pipelines.workflow.step import Step, step, walk
from vlp_core.curation.settings import Ingest, Near
from vlp_core.data.releases import CHANGE, QUARANTINE_FILE, STEP, find, newest, read_info
from vlp_core.data.settings import Adopt
from vlp_core.data.takedowns import TAKEDOWNS_FILE, Live
from vlp_core.errors import UserError
from vlp_core.settings import execution
from vlp_core.web.settings import Fetch

NAME = "refresh-data"


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """Bring a data set up to what its lists say today, as a new release; the old ones stay as they are."""

    source: tuple[str, ...] = ()
    """The whole lists of (url, caption) as they are today: Parquet, csv, tsv or jsonl files, or folders of them.
    Without, --verify only reads what is there."""
    into: str = ""
    """NAME of the data set. NAME@N makes sure that it is the N-th release that is made."""
    recheck_days: int = 90
    """After how many days a link is asked again that answered for good, with a picture or without."""
    let_in: tuple[str, ...] = ()
    """Pictures that leave the quarantine: uids, urls or sha256; `all` of them."""
    near: Near = Near(alike=1)
    """How near a picture that changed must be to what was there (bits and colour)."""
    keep: int | None = execution(None)
    """Then keep the last so many releases of this name, and the last so many that differ in pictures or captions, and
    remove the others with all results that nothing else needs: no other release, no model. With --explain, only say
    what would go."""
    discard: bool = execution(False)
    """Leave a refresh that was begun with other lists as it is, and begin anew with those of today: for a wrong list.
    What it has fetched is in no release, and is asked again where it is wanted."""
    ingest: Ingest = Ingest()
    fetch: Fetch = Fetch()
    card: Card = Card()

    def __post_init__(self) -> None:
        if self.recheck_days < 0:
            raise UserError(f"--recheck-days {self.recheck_days}: give a number of days, 0 to ask all links each time")
        check_keep(self.keep)


def lists_of(config: Refresh) -> tuple[Path, ...]:
    """The lists that are given. UserError where they are no lists of links."""
    if not config.source:
        raise UsageError("--source: give the lists that the data set is made of")
    found = sort_out(config.source, Adopt())
    others = [*found.sets, *map(str, found.tables)]
    if others:
        raise UserError(f"{others[0]}: not a list of links, of which a data set can be refreshed; give those alone")
    return found.lists


def pairs_of(config: Refresh, turn: Turn) -> Step:
    sources = lists_of(config) if turn.earlier is None else turn.earlier
    return step("ingest", ingest.run, sources=sources, ingest=config.ingest, recognise=False)


def build(config: Refresh, turn: Turn, root: Path) -> list[Step]:
    """The DAG of a refresh. The first one asks for the whole list: its download is that of any other pipeline."""
    read_never_store(config.fetch.never_store)
    pairs = pairs_of(config, turn)
    fetch, file = config.fetch, root / TAKEDOWNS_FILE
    live = Live(takedowns=file)
    after: dict[str, Step] = {}
    if turn.next.before is None and turn.takedowns is None:
        fetched = step("download", download.run, pairs=pairs, fetch=fetch, serve=None, live=live)
    else:
        if turn.never_store is not None:
            fetch = replace(fetch, never_store=(*fetch.never_store, turn.never_store))
        asked = step(
            "changes",
            changes.run,
            pairs=pairs,
            next=turn.next,
            recheck_days=config.recheck_days,
            shard_size=config.ingest.shard_size,
            takedowns=turn.takedowns,
            let_in=turn.let_in,
        )
        again = turn.next.before is not None
        fetched = step("download", download.run, pairs=asked, fetch=fetch, serve=None, refresh=again, live=live)
        after["changes"] = asked
    made = step(
        "release",
        release.run,
        pairs=pairs,
        download=fetched,
        next=turn.next,
        fetch=config.fetch,
        near=config.near,
        card=config.card,
        takedowns=file if file.exists() else None,
        let_in=turn.let_in,
        **after,
    )
    return [step("publish", publish.run, release=made, next=turn.next)]


def main(words: Sequence[str]) -> int:
    return ended(lambda: _begun(words))


def _begun(words: Sequence[str]) -> int:
    config, workflow = parse(Refresh, list(words), NAME)
    root = root_of(workflow)
    check_no_purge(root)  # before what is half done is taken for damage
    series = Series.named(root, config.into)
    alone = workflow.verify and not (config.source or config.keep or config.discard or config.let_in)
    if alone:
        find(root, series.name)  # else a name that is mistyped is sound
    digests = Digests(root / ".digests.json")
    if not root.exists() and not workflow.explain:
        _check(config, workflow, series, digests)
        make_root(root)
    with disk_faults(root), contextlib.nullcontext() if workflow.explain else series.alone():
        if workflow.verify:
            print(f"verified: {check_all(root, series.name)} releases of {series.name}, and the tars of their pictures")
        if alone:
            return OK
        return _refresh(
            config, words, series, digests, look_only=workflow.explain, whole=workflow.until in (None, "publish")
        )


def _check(config: Refresh, workflow: Workflow, series: Series, digests: Digests) -> None:
    """UserError for what is refused whatever there is in a root: none is made for it."""
    turn = series.turn(_lists(config, digests), config.let_in, look_only=True)
    made = partial(build, turn=turn, root=series.root)
    Invocation(NAME, config, workflow, made, (), series.root).steps()


def _lists(config: Refresh, digests: Digests) -> Lists:
    lists = [(path.name, digests.of(path)) for path in lists_of(config)]
    check_lists(lists_of(config), config.ingest)
    return lists


def _refresh(
    config: Refresh, words: Sequence[str], series: Series, digests: Digests, *, look_only: bool, whole: bool
) -> int:
    lists = _lists(config, digests)
    if not look_only:
        digests.save()
    turn = series.turn(lists, config.let_in, look_only=look_only)
    if config.discard:
        print(_discarded(config, turn, series, look_only=look_only))
    wrong = config.discard and turn.earlier is not None and turn.named is None
    if wrong or not _goes_on(config, turn, series.root):
        turn = series.turn(lists, config.let_in, look_only=look_only, anew=True)
    if turn.earlier is not None and series.wanted is not None:
        way = "" if turn.named else ", or give --discard to leave it"
        raise UserError(
            f"--into {turn.next.title}: was begun with other lists; leave the number out to bring it to its end first"
            + way
        )
    if turn.earlier is not None:
        end, ask = ("would be brought", "would be asked") if look_only else ("is brought", "are asked")
        print(
            f"! {turn.next.title} was begun with other lists: it {end} to its end, then those of today {ask}"
            + ("" if turn.named else " (--discard: leave it)")
        )
    if turn.earlier is not None and not look_only:
        code = _run(words, series, turn)
        if code != OK or not whole:  # what it has asked for is not lost: the same again goes on from there
            return code
        turn = series.turn(lists, config.let_in, done=turn.let_in, anew=True)
    code = _run(words, series, turn)
    if code == OK and whole and not look_only:
        series.end()
        print(_told(series, turn))
    if code == OK and whole and config.keep is not None:
        old = (series.root, series.name, config.keep)
        for line in rehearse(*old, _coming(config, turn, series.root)) if look_only else collect(*old):
            print(line)
    return code


def _discarded(config: Refresh, turn: Turn, series: Series, *, look_only: bool) -> str:
    """What becomes of a refresh of other lists that is to be left, in one line."""
    if turn.earlier is None:
        return f"nothing to discard: no refresh of {series.name} was begun with other lists"
    if turn.named is not None:
        return f"nothing to discard: {turn.next.title} is made already"
    fetched = folders_begun(walk(build(config, turn, series.root)), series.root).get("download")
    left = (
        f"what it has fetched stays in {fetched}"
        if fetched is not None
        else "nothing was fetched that these flags would go on with"
    )
    verb = "would be left" if look_only else "is left"
    return f"! {turn.next.title} was begun with other lists: it {verb}, and {left}"


def _goes_on(config: Refresh, turn: Turn, root: Path) -> bool:
    """Whether a refresh of other lists has come as far as to ask, and one whose release has its name makes that again:
    with other flags neither goes on from there."""
    if turn.named is not None:
        return folders_made(walk(build(config, turn, root)), root).get(STEP) == turn.named.path
    if turn.earlier is None:
        return True
    fetched = folders_begun(walk(build(config, turn, root)), root).get("download")
    return fetched is not None and download.has_answers(fetched, refresh=turn.next.before is not None)


def _run(words: Sequence[str], series: Series, turn: Turn) -> int:
    return run_pipeline(
        NAME,
        Refresh,
        partial(build, turn=turn, root=series.root),
        headline=("release",),
        arguments=list(words),
        run_name=series.name,
    )


def _coming(config: Refresh, turn: Turn, root: Path) -> Coming:
    """The releases that this refresh would make, as far as that is cheaply known: of a list that was not read yet it
    is not."""
    made = folders_made(walk(build(config, turn, root)), root)
    last = newest(root, turn.next.name)
    held = {path.parent for path in read_in_place(last.path)} if last is not None else set()
    needs = frozenset(path.resolve() for path in (*held, *made.values()))
    if turn.earlier is not None:  # then those of today, of which nothing is known
        return Coming(certain=int(turn.named is None), possible=1 + int(turn.named is None), needs=needs)
    if turn.named is not None:
        return Coming()
    if turn.next.before is not None and "ingest" not in made:
        return Coming(possible=1, needs=needs)
    if turn.next.before is not None and changes.nothing_is_new(
        made["ingest"],
        turn.next,
        recheck_days=config.recheck_days,
        takedowns=turn.takedowns,
        let_in=turn.let_in,
    ):
        return Coming()
    return Coming(certain=1, possible=1, needs=needs)


def _told(series: Series, turn: Turn) -> str:
    """What came of it, in one line."""
    last = newest(series.root, series.name)
    assert last is not None
    if last.number != turn.next.number:
        return f"nothing to refresh: nothing is new in the lists and nothing is due; {last.title} stands"
    counts = read_info(last.path)["counts"]
    changed = ", ".join(f"{int(counts[name]):,} {name.replace('_', ' ')}" for name in CHANGE)
    waiting = pq.read_metadata(last.path / QUARANTINE_FILE).num_rows
    waits = f"; {waiting:,} wait in {QUARANTINE_FILE} (--let-in)" if waiting else ""
    pictures = f"{int(counts['pictures']):,} pictures ({changed})"
    return f"{last.title}: {pictures}{waits}; --source releases:{last.title} reads it"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
