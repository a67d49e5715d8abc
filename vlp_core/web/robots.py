"""robots.txt (RFC 9309): what a host lets us ask for; the rules are read by protego."""

import re
import time
from collections import OrderedDict

from protego import Protego
from yarl import URL

from vlp_core.web.link import Answer
from vlp_core.web.retry import worth_retrying
from vlp_core.web.turns import RobotsRead

KEPT_S = 12 * 3600.0
"""In the book, and then by a fetcher: a day together (RFC 9309, 2.4)."""
"""How long it holds (2.4)."""
ROBOTS_BYTES = 500 * 1024
"""What is read of it (2.5); what comes after is ignored."""
ROBOTS_S = 10.0
"""Seconds that one attempt to read it may take: a few hundred bytes, for which all links of its host wait."""
REDIRECTS = 5
"""Redirects followed to it (2.3.1.2); beyond them there is none."""
MOST_RULES = 10_000
"""Different rules for one agent, all of which a link may have to be compared with. Where there are more, nothing is
allowed: to leave some out might allow what they forbid."""

# The lines that say something (2.2, with Crawl-delay, and misspelt as protego takes them) in two parts: what else there
# is would be kept for each host, and many send a page of theirs for a robots.txt that they have not.
_LINES = re.compile(
    rb"(?im)(?:^|(?<=\r)|\A\xef\xbb\xbf)[ \t]*"
    rb"(user[- ]?agent|di\w{3,8}|allow|crawl[- ]delay)[ \t]*:([^#\r\n]*)"
)


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
        rules = _rules_for(agent, answer.body)
        if len(rules) > MOST_RULES:
            return RobotsRead(origin, failed="robots.txt: too many rules")
        text = "\n".join(["user-agent:*", *rules]) if rules else ""
        return RobotsRead(origin, text, Rules(text, agent).delay_s)
    status = answer.http_status
    refused = answer.reason or ""
    if refused in ("empty", "too many redirects") or (status and 200 < status < 500 and not worth_retrying(status)):
        return RobotsRead(origin)
    if refused == "refused address" and not moved:  # as all of the origin's links are
        return RobotsRead(origin, failed=refused)
    return RobotsRead(origin, failed=f"robots.txt: {refused}")


def _rules_for(agent: str, body: bytes) -> list[str]:
    """The rules for `agent`, each once: of all groups that name it as well as any does (2.2.1).

    What is said to others is left out before protego sees it, which copies each rule for each agent of its group.
    """
    rules: dict[str, None] = {}
    best = here = 0
    naming = False  # the line before was a User-agent: the next one is of the same group
    for name, said in _LINES.findall(body):
        field = name.decode().lower()
        # Protego takes what follows a form feed and the like for a line of its own.
        value = (said.decode("utf-8", "replace").splitlines() or [""])[0].strip()
        if field.startswith("user"):
            here = max(here if naming else 0, _named(value, agent))
            naming = True
            if here > best:
                best = here
                rules.clear()
        else:
            naming = False
            if value and here == best > 0:
                rule = f"{field}:{value}"
                rules.pop(rule, None)  # of several Crawl-delays the last one holds
                rules[rule] = None
    return list(rules)


def _named(value: str, agent: str) -> int:
    """How well a User-agent line names `agent`: 0 not at all, 1 as everybody, more by its first letters or all of them.

    Whatever its version: our User-Agent header has one, and is copied from logs.
    """
    if value == "*":
        return 1
    name = value.partition("/")[0].replace("*", "").strip().lower()
    return 1 + len(name) if name and agent.lower().startswith(name) else 0


class KeptRules:
    """Rules of the origins that were asked last, for a day at most; others the book of hosts has to send again."""

    def __init__(self, agent: str, most: int = 16384, most_letters: int = 2**23) -> None:
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
