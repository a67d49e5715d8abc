"""The one exception that users are meant to read."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong and the way out, in one line that names the thing.

    Command lines print it without a traceback and exit with code 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as `; did you mean 'ratio'?`, or the known words where none is near."""
    known = sorted(known)
    as_written = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), as_written, n=1, cutoff=0.5)
    return f"; did you mean {as_written[close[0]]!r}?" if close else f"; known: {', '.join(known)}"


def first_line(error: Exception) -> str:
    """What an error says, short enough to be told inside one line, and fit to be shown."""
    lines = public_text(str(error)).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def public_text(text: str) -> str:
    """The text without the user and password of addresses in it: libraries quote the address that they were given."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
