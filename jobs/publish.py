"""publish: give a whole release its name and number, or say that there was nothing to make one of."""

import json
from pathlib import Path

from vlp_core.data.releases import DATA_SETS_FILE, INFO_FILE, STEP, Next, Release, data_set_of, enter, read_info
from vlp_core.data.takedowns import digest_of_takedowns
from vlp_core.data.tombstones import LOCK_FILE
from vlp_core.errors import UserError
from vlp_core.files import locked, write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False


def run(*, release: Path, next: Next, out: Path, tracker: Tracker) -> Summary:
    """Enter `release` (the folder of a result) as `next` among the releases of its root.

    UserError where another has the number, or something was taken down since it was made. Said again of the same
    release, nothing changes.
    """
    info = read_info(release)
    if info["nothing"]:
        tracker.warn(f"nothing is new in the lists and nothing is due: {next.name}@{next.number - 1} stands")
        write_text(out / INFO_FILE, json.dumps({"nothing": True}) + "\n")
        return Summary(counts={"releases": 0})
    root = release.parent.parent
    entered = Release(
        name=next.name,
        number=next.number,
        root=str(root),
        folder=f"{STEP}/{release.name}",
        digest=info["digest"],
        as_of=next.as_of,
    )
    with locked(root / LOCK_FILE):  # what is taken down from here on was told that this release has it
        now = digest_of_takedowns(next.takedowns)
        if info.get("takedowns", now) != now:
            raise UserError(
                f"{next.title}: something was taken down since it was made; start again, and it is left out"
            )
        enter(entered)
    write_text(out / INFO_FILE, json.dumps({"title": entered.title, "digest": entered.digest}, sort_keys=True) + "\n")
    said = [{**(data_set_of(release) or {}), "context": "release"}]
    write_text(out / DATA_SETS_FILE, json.dumps(said, sort_keys=True) + "\n")
    write_text(out / "_TAGS.json", json.dumps({"vlp.release": entered.title}) + "\n")
    return Summary(counts={"releases": 1})
