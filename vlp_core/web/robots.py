"""robots.txt (RFC 9309): what a host lets us ask for; the rules are read by protego."""

import re
import time
from collections import OrderedDict

from protego import Protego
from yarl import URL

from vlp_core.web.link import Answer
from vlp_core.web.retry import worth_retrying
from vlp_core.web.turns import RobotsRead

KEPT_S = 24 * 3600.0
"""How long it holds (2.4)."""
ROBOTS_BYTES = 500 * 1024
"""What is read of it (2.5); what comes after is ignored."""
ROBOTS_S = 10.0
"""Seconds that one attempt to read it may take: a few hundred bytes, for which all links of its host wait."""
REDIRECTS = 5
"""Redirects followed to it (2.3.1.2); beyond them there is none."""

# The lines that say something (2.2, with Crawl-delay, and misspelt as protego takes them): what else there is would be
# kept for each host, and many send a page of theirs for a robots.txt that they have not.
_LINES = re.compile(
    rb"(?im)(?:^|(?<=\r)|\A\xef\xbb\xbf)[ \t]*((?:user[- ]?agent|di\w{3,8}|allow|crawl[- ]delay)[ \t]*:[^\r\n]*)"
)
# What is wrong with all of an origin's links, not with its robots.txt.
_OF_THE_ORIGIN = frozenset({"tls", "refused address"})


class Rules:
    """What robots.txt says to one agent."""

    def __init__(self, text: str, agent: str) -> None:
        self._agent, self.letters = agent, len(text)
        self._rules = Protego.parse(text) if text else None

    @property
    def delay_s(self) -> float:
        """Crawl-delay in seconds, which the RFC leaves out and many give; 0 where there is none."""
        return (self._rules and self._rules.crawl_delay(self._agent)) or 0.0

    def allows(self, url: URL) -> bool:
        return self._rules is None or self._rules.can_fetch(str(url), self._agent)


def robots_url(origin: str) -> URL:
    return URL(f"{origin}/robots.txt")


def robots_read(origin: str, answer: Answer, agent: str, *, moved: bool = False) -> RobotsRead:
    """What an answer for robots.txt means: no rules at 4xx (2.3.1.3), nothing allowed where it cannot be had (2.3.1.4),
    as where the 4xx says that it may be had later.

    `moved`: a redirect led elsewhere, so that what is wrong there need not be wrong with the origin.
    """
    if answer.body is not None:
        text = b"\n".join(_LINES.findall(answer.body)).decode("utf-8", "replace")
        return RobotsRead(origin, text, Rules(text, agent).delay_s)
    status = answer.http_status
    refused = answer.reason or ""
    if refused in ("empty", "too many redirects") or (status and 200 < status < 500 and not worth_retrying(status)):
        return RobotsRead(origin)
    if refused in _OF_THE_ORIGIN and not moved:
        return RobotsRead(origin, failed=refused)
    return RobotsRead(origin, failed=f"robots.txt: {refused}")


class KeptRules:
    """Rules of the origins that were asked last, for a day at most; others the book of hosts has to send again."""

    def __init__(self, agent: str, most: int = 4096, most_letters: int = 2**23) -> None:
        """Rules take up to thirty times the memory of their text: besides their number its letters are bounded."""
        self._agent, self._most, self._most_letters = agent, most, most_letters
        self._rules: OrderedDict[str, Rules] = OrderedDict()
        self._letters = 0
        self._until = time.monotonic() + KEPT_S

    def __contains__(self, origin: str) -> bool:
        if time.monotonic() > self._until:
            self._rules.clear()
            self._letters = 0
            self._until = time.monotonic() + KEPT_S
        return origin in self._rules

    def get(self, origin: str) -> Rules | None:
        if origin not in self._rules:
            return None
        self._rules.move_to_end(origin)
        return self._rules[origin]

    def keep(self, origin: str, text: str) -> None:
        if origin in self._rules:
            self._letters -= self._rules.pop(origin).letters
        self._rules[origin] = Rules(text, self._agent)
        self._letters += len(text)
        while len(self._rules) > 1 and (len(self._rules) > self._most or self._letters > self._most_letters):
            self._letters -= self._rules.popitem(last=False)[1].letters
