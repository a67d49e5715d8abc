"""same: whether an earlier arm selects the very same pictures with the same captions, so that its trials serve both."""

import json
from collections.abc import Sequence
from pathlib import Path

from jobs.select import SUMMARY_FILE
from vlp_core.files import write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False
SAME_FILE = "same.json"


def run(*, selection: Path, earlier: tuple[Path, ...], names: tuple[str, ...], out: Path, tracker: Tracker) -> Summary:
    """Write same.json: the name of the first of the `earlier` selections that is the same, null where none is.

    It says no more than that: another arm beside these trains nobody anew.
    """
    number = first_same([*earlier, selection])[-1]
    same = names[number] if number < len(earlier) else None
    if same is not None:
        tracker.warn(f"same selection as {same}, whose trials count for both, once")
    write_text(out / SAME_FILE, json.dumps({"arm": same}) + "\n")
    return Summary(counts={"arms/before": len(earlier), "arms/same": int(same is not None)})


def first_same(selections: Sequence[Path]) -> list[int]:
    """For each selection the number of the first that has its content."""
    digests = [json.loads((folder / SUMMARY_FILE).read_text())["digest"] for folder in selections]
    return [digests.index(digest) for digest in digests]


def same_as(folder: Path) -> str | None:
    """The arm that a same.json names."""
    return json.loads((folder / SAME_FILE).read_text())["arm"]
