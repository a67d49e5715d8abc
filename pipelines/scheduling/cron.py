"""Cron expressions: the times that a schedule is due, and how long texts such as 6h are."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from vlp_core.errors import UserError

FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, in a month that has it",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7: Sunday), or SUN to SAT",
}
"""The fields of an expression in order, and what each may say."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Cron:
    """An expression of five fields in a time zone, as Debian's cron reads it, also when clocks are put forward or back.

    All times that go in and come out are aware; those that come out are in UTC.
    """

    expression: str
    timezone: str = "UTC"
    zone: ZoneInfo = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "zone", _zone(self.timezone))
        words = self.expression.split()
        if len(words) != len(FIELDS):
            raise UserError(
                f"--cron {self.expression!r}: has {len(words)} fields; give 5: {', '.join(FIELDS)}; such as '0 3 * * *'"
            )
        try:
            first = next(CronSim(self.expression, datetime.now(self.zone)), None)
        except CronSimError as error:
            name = str(error).removeprefix("Bad ")
            said = words[list(FIELDS).index(name)]
            raise UserError(
                f"--cron {self.expression!r}: {name} {said!r} is none; it is {FIELDS[name]}; *, */N, A-B and A,B do too"
            ) from error
        if first is None:
            raise UserError(f"--cron {self.expression!r}: no day is like that; day-of-month and day-of-week never meet")

    def next(self, after: datetime) -> datetime:
        """The first time after this one."""
        found = (time.astimezone(UTC) for time in CronSim(self.expression, after.astimezone(self.zone)))
        return next(time for time in found if time > after)  # an hour that comes twice is told from its naive time

    def back(self, until: datetime) -> Iterator[datetime]:
        """The times up to this one and with it, the newest first."""
        start = (until + timedelta(seconds=1)).astimezone(self.zone)
        found = (time.astimezone(UTC) for time in CronSim(self.expression, start, reverse=True))
        return (time for time in found if time <= until)

    def between(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """The times after one and up to the other, the newest first, `most` of them."""
        found = []
        for time in islice(self.back(until), most):
            if time <= after:
                break
            found.append(time)
        return found

    def shown(self, time: datetime) -> str:
        """A time as a reader of the schedule thinks of it."""
        return f"{time.astimezone(self.zone):%Y-%m-%d %H:%M} {self.timezone}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # a directory of zones raises OSError
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "give one such as Europe/Berlin or UTC"
        raise UserError(f"--timezone {name!r}: no such time zone; {hint}") from error


def duration(text: str, flag: str) -> timedelta:
    """How long 90s, 15m, 6h or 2d is; 0 is 0. UserError for anything else."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if text.strip() == "0":
        return timedelta(0)
    if found is None:
        raise UserError(f"{flag} {text!r}: give a number and s, m, h or d, such as 90s, 15m, 6h or 2d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
