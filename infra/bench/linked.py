"""A step whose result is there already."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vlp_core.settings import execution
from vlp_core.tracker import Summary, Tracker


@dataclass(frozen=True, kw_only=True)
class Place:
    folder: Path = execution()


def linked(*, name: str, place: Place, out: Path, tracker: Tracker) -> Summary:  # noqa: ARG001
    """The folder of this name there, without a copy."""
    shutil.copytree(place.folder / name, out, copy_function=os.link, dirs_exist_ok=True)
    return Summary()
