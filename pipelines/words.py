"""Command lines of words and a few flags, whose faults are told in one line as those of pipelines are."""

import argparse
from typing import NoReturn

from vlp_core.errors import UserError


class Words(argparse.ArgumentParser):
    """UserError in the place of an exit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help says more")
