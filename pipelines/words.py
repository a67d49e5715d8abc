"""Words of commands: lines of a few flags, whose faults are told in one line as those of pipelines are, and bytes."""

import argparse
from typing import NoReturn

from vlp_core.errors import UserError


class Words(argparse.ArgumentParser):
    """UserError in the place of an exit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help says more")


def bytes_told(value: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.3g} {unit}"
        value /= 1000
    return f"{value:,.4g} TB"
