"""X-Robots-Tag and tdm-reservation: whether a picture's owner wants it left out.

Directives: developers.google.com/search/docs/crawling-indexing/robots-meta-tag, and `noai`, `noimageai`; what is past
its `unavailable_after` is meant as with `noindex`. The TDM Reservation Protocol:
w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510, section 5.
"""

import re
import time
from collections.abc import Iterable, Iterator

from vlp_core.web.dates import seconds_of

_UNTIL = "unavailable_after"
OPT_OUTS = ("noai", "noimageai", "noindex", "none", _UNTIL)
# Directives that carry a value after a colon, as an agent's name carries its directives.
_VALUED = frozenset({_UNTIL, "max-snippet", "max-image-preview", "max-video-preview"})
_KNOWN = _VALUED.union(
    OPT_OUTS,
    ("all", "index", "follow", "nofollow", "noarchive", "nocache", "nosnippet", "noimageindex", "notranslate"),
    ("indexifembedded", "nositelinkssearchbox", "noodp", "noydir"),
)
_PREFIX = re.compile(r"([^\s:]+)\s*:\s*(.*)", re.DOTALL)
_WEEKDAY = re.compile(rf"({_UNTIL}\s*:)\s*(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\s*,(?=\s*\d)")


def opted_out(headers: Iterable[str], agent: str, now: float | None = None) -> str | None:
    """The opt-out that X-Robots-Tag headers hold for `agent` at a time (seconds since 1970), None where they hold
    none."""
    now = time.time() if now is None else now
    found = {_meant(directive, now) for header in headers for directive in _directives(header, agent.lower())}
    return next((directive for directive in OPT_OUTS if directive in found), None)


def _meant(directive: str, now: float) -> str:
    """A directive; of a date by itself, whether it has passed."""
    said = _PREFIX.fullmatch(directive)
    if said is None or said[1] != _UNTIL:
        return "" if directive == _UNTIL else directive
    until = seconds_of(said[2])
    return _UNTIL if until is not None and until <= now else ""


def reserved(headers: Iterable[str]) -> bool:
    """Whether tdm-reservation headers keep text and data mining to the owner: any of them is 1."""
    return any(part.strip() == "1" for header in headers for part in header.split(","))


def _directives(header: str, agent: str) -> Iterator[str]:
    """Directives of one header that are meant for `agent`; an agent's name holds until the next one."""
    meant = True
    for part in re.split("[,;]", _WEEKDAY.sub(r"\1", header.lower())):
        directive = part.strip()
        prefix = _PREFIX.fullmatch(directive)
        if prefix and _is_agent(prefix[1], prefix[2], agent):
            meant = _named(prefix[1], agent)
            directive = prefix[2]
        if meant:
            yield directive


def _named(name: str, agent: str) -> bool:
    return name.split("/")[0] in (agent, "*")


def _is_agent(name: str, said: str, agent: str) -> bool:
    """Whether it is an agent's name, for which a directive follows; else a directive of which we have not heard.

    In doubt it is none: what comes after would be lost, and with it an opt-out.
    """
    if name in _VALUED or name.startswith("max-"):
        return False
    return _named(name, agent) or re.split(r"[\s:]", said, maxsplit=1)[0] in _KNOWN
