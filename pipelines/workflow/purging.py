"""Whether a purge is under way in a root: until it is done, results there do not agree with one another."""

from pathlib import Path

from vlp_core.errors import UserError

FOLDER = ".purge"
PLAN_FILE = f"{FOLDER}/plan.json"


def check_no_purge(root: Path) -> None:
    """UserError while there is one, or the rest of one that was killed."""
    if (root / PLAN_FILE).exists():
        raise UserError(
            f"{root}: pictures are being purged, or were when that was killed; wait for it, or bring it to its end: "
            f"pipelines/takedown.py --purge --root {root}"
        )
