#!/usr/bin/env python
"""Who saw a link or a picture: the releases that have or had it, and the registered models that were trained on it.

pipelines/lineage.py https://example.org/1.jpg --root /data/runs     # a url, a host, a uid or the sha256 of a body
pipelines/lineage.py --root /data/runs                               # which releases there are

Exit codes: 0 something has or had each of them, 1 nothing that is there knows one of them, 2 something for the user to
mend, 64 a command line that is wrong.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from jobs.seen_by import PICTURE, Looker, Term
from jobs.select import SUMMARY_FILE
from jobs.taken import is_of_images
from pipelines.purge_plan import folders_of
from pipelines.words import Words
from pipelines.workflow.cli import existing_root
from pipelines.workflow.ending import OK, ended
from pipelines.workflow.model_versions import Version, versions_of
from vlp_core.data.layout import SELECTION_FILE
from vlp_core.data.releases import CHANGE, Release, data_set_of, every
from vlp_core.data.takedowns import TAKEDOWNS_FILE, Takedowns
from vlp_core.errors import UserError

UNKNOWN = 1
BY_ITS_START = "by its start"
_WIDTH = 48
Row = tuple[str, str, str]
"""What was asked for, who saw it, and how."""


def words() -> argparse.ArgumentParser:
    parser = Words(prog="lineage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="URL|HOST|UID|SHA256")
    parser.add_argument("--root", type=Path, help="the folder of all results; default: $VLP_ROOT, else ./runs")
    return parser


def main(arguments: Sequence[str]) -> int:
    return ended(lambda: _asked(words().parse_args(list(arguments))), interrupted="interrupted")


def _asked(given: argparse.Namespace) -> int:
    root = existing_root(given.root)
    if not given.names:
        print(_table(("release", "begun", "pictures", "changes"), releases_of(root)))
        return OK
    names = list(dict.fromkeys(name.strip() for name in given.names))
    rows = lineage(root, names)
    if rows:
        print(_table(("what", "seen by", "how"), [(_short(text), who, how) for text, who, how in rows]))
    down, seen = Takedowns.read(root / TAKEDOWNS_FILE), {row[0] for row in rows}
    for name in names:
        if name in seen and _is_down(name, down):
            print(f"{name}: taken down; no later release has it")
    unknown = [name for name in names if name not in seen]
    for name in unknown:
        print(f"{name}: {_not_known(name, root, down)}", file=sys.stderr)
    return UNKNOWN if unknown else OK


def _not_known(name: str, root: Path, down: Takedowns) -> str:
    """What is said of a name that nothing knows; of one that was taken down that is no proof that nothing saw it."""
    if _is_down(name, down):
        return (
            f"taken down; no release or registered model that is in {root} knows it, and of those that --keep removed, "
            "or what was purged of a host, nothing is known any more"
        )
    return f"no release and no registered model in {root} knows it"


def _is_down(name: str, down: Takedowns) -> bool:
    term = Term.of(name)
    text = f"http://{name}/" if term.host else min(term.sha256, default=name)  # in lower case
    named = pa.array([text], pa.string())
    return bool(down.of_urls(named)[0] or down.of_pictures(named)[0])


def lineage(root: Path, names: Sequence[str]) -> list[Row]:
    """The rows of the table. UserError where a release, a selection or the registry cannot be read."""
    terms = [Term.of(name) for name in names]
    releases = every(root)
    selections = [folder for folder in folders_of(root) if (folder / SELECTION_FILE).exists()]
    if any(term.host or term.link is not None for term in terms):  # of what a release has, another list may have more
        folders = [*(release.path for release in releases), *filter(is_of_images, folders_of(root))]
        Looker(terms).spellings(dict.fromkeys(folders))
    found = _looked(terms, releases, selections)
    rows = [(text, release.title, how) for release in releases for text, how in sorted(found[release.path].items())]
    digests = {_digest(folder): found[folder] for folder in selections if found[folder]}
    for version in versions_of(root, digests.keys()):
        rows += [(text, version.title, how) for text, how in sorted(_saw(version, digests).items())]
    return rows


def _saw(version: Version, digests: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """How a version saw each of the names: by the nearest of its selections, its own or one of its start's."""
    saw: dict[str, str] = {}
    for place, digest in reversed(list(enumerate(version.selections))):
        told = f"{BY_ITS_START}, selection {digest[:12]}" if place else f"selection {digest[:12]}"
        saw |= {text: told if how == PICTURE else f"{told}: {how}" for text, how in digests.get(digest, {}).items()}
    return saw


def _looked(
    terms: Sequence[Term], releases: Sequence[Release], selections: Sequence[Path]
) -> dict[Path, dict[str, str]]:
    """What each release and each selection has of the terms: twice, for a link's picture may be known by its bytes,
    which are learnt on the way."""
    known = -1
    while known != (now := sum(len(term.sha256) for term in terms)):
        known, looker = now, Looker(terms)
        found = {release.path: looker.images(release.path) for release in releases}
        found |= {folder: looker.selection(folder) for folder in selections}
    return found


def _digest(selection: Path) -> str:
    try:
        return str(json.loads((selection / SUMMARY_FILE).read_text())["digest"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{selection / SUMMARY_FILE}: does not say which selection it is; make it again") from error


def releases_of(root: Path) -> list[tuple[str, ...]]:
    """Of each release of a root its name, when its refresh began, how many pictures it has, and what it changed.
    UserError where one cannot be read."""
    rows: list[tuple[str, ...]] = []
    for release in every(root):
        found = data_set_of(release.path)
        if found is None:
            raise UserError(f"{release.title}: {release.path} is gone; put it back")
        counts = found["counts"]
        told = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in (*CHANGE, "purged") if counts.get(name)]
        rows.append((release.title, release.as_of[:16], f"{counts['pictures']:,}", ", ".join(told) or "none"))
    return rows


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    shown = [head, *rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
