"""Words of commands: lines of a few flags, whose faults are told in one line as those of pipelines are, and bytes."""

import argparse
from typing import NoReturn

from pipelines.workflow.ending import UsageError


class Words(argparse.ArgumentParser):
    """UsageError in the place of an exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help says more")


def bytes_told(value: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.3g} {unit}"
        value /= 1000
    return f"{value:,.4g} TB"
