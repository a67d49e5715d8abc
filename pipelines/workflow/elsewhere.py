"""Settings that name what other runs made must not name the root of this one: it would stand against itself."""

import dataclasses
from pathlib import Path
from typing import Any

from vlp_core.errors import UserError
from vlp_core.settings import ELSEWHERE


def check_elsewhere(config: Any, root: Path, flag: str = "--") -> None:
    """UserError where a setting for folders of other runs (`vlp_core.settings.elsewhere`), at any depth, names `root`.

    `flag` is how the fields of `config` begin on the command line.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{flag}{field.name.replace('_', '-')}"
        if not field.metadata.get(ELSEWHERE):
            check_elsewhere(value, root, f"{name}.")
        elif own := [path for path in value if path.resolve() == root.resolve()]:
            raise UserError(
                f"{name} {own[0]}: is the root of this very run, whose own pictures would all go; give another root, "
                "or the folder of one step in it"
            )
