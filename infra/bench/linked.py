"""A step whose result is there already."""

import os
import shutil
from pathlib import Path

from vlp_core.tracker import Summary, Tracker


def linked(*, folder: str, out: Path, tracker: Tracker) -> Summary:  # noqa: ARG001
    """What that folder holds, without a copy; known by its path, for to read 10⁷ rows is what is not to be timed."""
    shutil.copytree(folder, out, copy_function=os.link, dirs_exist_ok=True)
    return Summary()
