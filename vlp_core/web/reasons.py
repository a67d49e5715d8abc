"""Why a link gave no picture: the reasons that fetching and reading headers give, by the class they are counted in."""

import re

from vlp_core.web.retry import worth_retrying

UNFORESEEN = "unforeseen"

NO_SOCKET = "no socket left"
"""This machine's own want, which says nothing of the host."""

# What img2dataset writes down.
_OF_URLLIB = ("<urlopen error", "[Errno ", "timed out", "The read operation timed out", "Remote end closed")

# A reason belongs where its first words stand; what follows them is told apart in the rows only.
CLASSES: dict[str, tuple[str, ...]] = {
    "network": (
        "time-out",
        "name not found",
        "name server does not answer",
        "no connection",
        NO_SOCKET,
        "connection lost",
        "tls",
        *_OF_URLLIB,
    ),
    "http": ("http ", "HTTP Error "),
    "bad_answer": ("bad answer", "too many redirects", "unknown encoding", "broken encoding"),
    "opted_out": ("opted out: ", "Use of image disallowed"),
    "robots": ("robots.txt: ",),
    "taken_down": ("taken down",),
    "refused": ("refused scheme", "refused address", "refused picture", "bad url", "unknown url type"),
    "too_large": ("too many bytes", "too many pixels", "too many frames", "too many scans", "image area too large"),
    "too_small": ("image too small", "aspect ratio too large"),
    "not_an_image": ("not an image: ", "empty"),
    "undecodable": ("undecodable: ", "broken header: ", "Image decoding error"),
    "not_there": ("no such file", "outside the folder", "unreadable: ", "no picture in the tar"),
}


def class_of(reason: str) -> str:
    """The class of a reason; "unforeseen" for what nobody thought of, an error of this program's own."""
    return next((name for name, starts in CLASSES.items() if reason.startswith(starts)), UNFORESEEN)


# What may be otherwise in a later run; all else is final: 404, what is no image, what its owner wants left out.
_PASSING = (
    *("time-out", "name not found", "name server does not answer"),
    *("no connection", NO_SOCKET, "connection lost"),
    "robots.txt: ",
    "error: ",  # of this program
)
_ANSWERED = re.compile(r"http (\d{3})")


def may_pass(reason: str) -> bool:
    """Whether a link that failed so is worth asking for again in a later run."""
    answered = _ANSWERED.fullmatch(reason)
    return worth_retrying(int(answered[1])) if answered else reason.startswith(_PASSING)
