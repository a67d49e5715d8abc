#!/usr/bin/env python
"""Take down urls, hosts or pictures: out of the next release and of every later one, whatever list brings them back.

pipelines/takedown.py https://example.org/1.jpg example.net --reason 'mail of 2026-03-01' --root /data/runs
pipelines/takedown.py notices.csv --by legal --root /data/runs      # columns url, host, sha256; or a value a line
pipelines/takedown.py --purge --root /data/runs                     # and their bytes out of all that is there
pipelines/takedown.py example.net --explain --root /data/runs       # what that would take out; nothing is done
pipelines/takedown.py --list --root /data/runs                      # what was ever taken down
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.known import Known, bodies_of
from pipelines.purge import purge, rehearse
from pipelines.purge_plan import folders_of
from pipelines.words import Words
from pipelines.workflow.cli import existing_root, make_root, open_root
from pipelines.workflow.ending import OK, disk_faults, ended
from vlp_core.data.releases import Release, every
from vlp_core.data.takedowns import TAKEDOWNS_FILE, Takedowns
from vlp_core.data.tombstones import add_tombstones, count_new, read_named, read_tombstones, with_keys
from vlp_core.errors import UserError

_SHOWN = 5


def words() -> argparse.ArgumentParser:
    parser = Words(prog="takedown", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "list",
        nargs="*",
        help="urls, hosts (with all below them), sha256 of bodies or of stored pictures; or files of them",
    )
    parser.add_argument("--root", type=Path, help="the folder of all results; default: $VLP_ROOT, else ./runs")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--by", help="who says so; default: who runs this")
    parser.add_argument("--anyway", action="store_true", help="keep out of later releases what nothing here names")
    parser.add_argument("--purge", action="store_true", help="remove what was ever taken down from all that is there")
    parser.add_argument("--explain", action="store_true", help="say what that would take out, and do nothing")
    parser.add_argument("--list", action="store_true", dest="tell", help="what was ever taken down, when, by whom, why")
    return parser


def main(arguments: Sequence[str]) -> int:
    return ended(lambda: _asked(words().parse_args(list(arguments))))


def _asked(given: argparse.Namespace) -> int:
    if not given.list and not given.purge and not given.tell:
        raise UserError("nothing to take down: give urls, hosts, sha256 or a file of them, or --purge")
    begins = given.list and given.anyway and not given.explain
    root = open_root(given.root, look_only=True) if begins else existing_root(given.root)
    down = read_tombstones(root)
    given.by = given.by or _who_runs_this()
    if given.tell:
        for row in down.sort_by("since").to_pylist():
            print(f"{row['since']:%Y-%m-%d %H:%M}  {row['kind']:<6}  {row['value']}  {row['by']}: {row['reason']}")
        print(f"{len(down):,} tombstones in {root / TAKEDOWNS_FILE}")
    with disk_faults(root):
        if given.list:
            named, shown = found_in(root, read_named(given.list), anyway=given.anyway)
            _take_down(root, named, given)
            if shown and not given.purge and not given.explain:
                print(
                    f"what is there has their pictures still: pipelines/takedown.py --purge --root {root} removes them"
                )
            down = pa.concat_tables([down.select(["kind", "value"]), named.select(["kind", "value"])])
        if given.purge:
            for line in rehearse(root, Takedowns.of(down)) if given.explain else purge(root, given.by):
                print(line, flush=True)
    return OK


def _who_runs_this() -> str:
    """The name of the user, or the number of one who has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _take_down(root: Path, named: pa.Table, given: argparse.Namespace) -> None:
    """Add what is named to the tombstones, or only say how many that would be."""
    if given.explain:
        new = count_new(root, named)
        print(f"{new:,} tombstones would be added, and nothing was")
        return
    make_root(root)
    new = add_tombstones(root, named, given.reason, given.by)
    print(f"{new:,} tombstones added" + (f", {len(named) - new:,} were there" if new < len(named) else ""))


def found_in(root: Path, listed: pa.Table, *, anyway: bool) -> tuple[pa.Table, bool]:
    """`kind` and `value` of what is listed, with the bodies of pictures as they are stored, and whether any folder has
    pictures of it; says what that takes out of which releases.

    UserError where nothing in the root names any of it, unless it is to be kept `anyway`.
    """
    named, releases = with_keys(listed), every(root)
    known, pictures = _known(root, named, releases)
    bodies = _bodies(root, named, known)
    if bodies:
        values = sorted({body for some in bodies.values() for body in some} - set(named["key"].to_pylist()))
        more = pa.table(
            {"kind": pa.array(["sha256"] * len(values), pa.string()), "value": pa.array(values, pa.string())}
        )
        named = with_keys(pa.concat_tables([named.select(["kind", "value"]), more]))
        known, pictures = _known(root, named, releases)
        known = [there or key in bodies for there, key in zip(known, named["key"].to_pylist(), strict=True)]
    unknown = named["value"].filter(pc.invert(pa.array(known))).to_pylist()
    if len(unknown) == len(named) and not anyway:
        raise UserError(
            f"{_some(unknown)}: known nowhere in {root}, and nothing was taken down; check the spelling, or give "
            "--anyway to keep it out of later releases"
        )
    for release in releases:
        if pictures[release.path]:
            print(f"{release.title}: {pictures[release.path]:,} pictures, of which the next release has none")
    if unknown:
        print(f"! {len(unknown):,} known nowhere here, kept out of later releases all the same: {_some(unknown)}")
    return named, any(pictures.values())


def _known(root: Path, named: pa.Table, releases: Sequence[Release]) -> tuple[list[bool], dict[Path, int]]:
    """Of each that is named whether the root knows it, or has it taken down already; and by folder its pictures."""
    known = Known(down=Takedowns.of(named))
    pictures = {release.path: known.look(release.path) for release in releases}
    for folder in folders_of(root):
        if folder not in pictures:
            pictures[folder] = known.look(folder)
    before = set(zip(*with_keys(read_tombstones(root)).select(["kind", "key"]).to_pydict().values(), strict=True))
    keys = zip(named["kind"].to_pylist(), named["key"].to_pylist(), strict=True)
    return [there or key in before for there, key in zip(known.has(named), keys, strict=True)], pictures


def _bodies(root: Path, named: pa.Table, known: Sequence[bool]) -> dict[str, set[str]]:
    """Of the sha256 that are named those that pictures have as they are stored, with the sha256 of their bodies."""
    hashes = pc.equal(named["kind"], "sha256")
    wanted = frozenset(named["key"].filter(hashes).to_pylist())
    unknown = pc.sum(pc.and_not(hashes, pa.array(known)), min_count=0).as_py()
    if unknown:
        print(f"{unknown:,} sha256 are no body's; looking among the pictures as they are stored", flush=True)
    return bodies_of(folders_of(root), wanted) if wanted else {}


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
