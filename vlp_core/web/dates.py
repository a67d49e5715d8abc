"""Dates in headers, in the forms that servers write them in."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds_of(text: str) -> float | None:
    """Seconds since 1970 of a date in the form of RFC 822, RFC 850, asctime or ISO 8601; None where it is none.

    One that names no zone is in UTC (RFC 9110, 5.6.7).
    """
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(text.strip().upper())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
