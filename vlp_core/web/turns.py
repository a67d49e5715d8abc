"""The words between fetchers and the book of hosts: small, plain, picklable; one call carries many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

How = Literal["answered", "busy", "unreached", "silent", "lost", "unused"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A fetcher has `turns` requests for an origin that wait; all of them are to the same host."""

    host: str
    """The name or address whose limits hold, as `addresses.name_of` writes it, without port."""
    origin: str
    """`https://a.example:443`: whose robots.txt holds, and what may be dead by itself."""
    turns: int = 1
    lookup: bool = True
    """The host is a name whose addresses are needed; not so for a literal or mapped one."""
    robots: bool = True
    """The origin's robots.txt is to be known first."""
    has_rules: bool = False
    """The asker has kept the rules of this origin: they need not be sent again."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to an `Ask`: turns to be used now, something to be found out first, or neither."""

    leases: tuple[int, ...] = ()
    """One for each request that may be sent now. Each is given back by an `Asked`, or runs out by itself."""
    wait_s: float = 0.0
    """Where turns are missing: seconds until asking again can help."""
    until_told: bool = False
    """It may help sooner: as soon as a turn of this origin, a look-up or a robots.txt has been told of."""
    refused: str | None = None
    """The reason why none of the requests is to be sent, now or in this run."""
    errand: Literal["lookup", "robots"] | None = None
    """What this asker, and nobody else meanwhile, is to find out and tell: a `Looked` or a `RobotsRead`."""
    addresses: tuple[str, ...] = ()
    """The host's addresses as they were found, unchecked: a fetcher's `Gate` judges them when it connects."""
    rules: str | None = None
    """The text of robots.txt, where turns are granted and the asker has it not."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A look-up has ended: addresses, or the reason why there are none, which then holds for the run."""

    host: str
    addresses: tuple[str, ...] = ()
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class RobotsRead:
    """robots.txt was read: its text ("" where there is none), or the reason why it could not be had."""

    origin: str
    text: str = ""
    delay_s: float = 0.0
    """Its Crawl-delay for us."""
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of one turn.

    answered: some HTTP answer; busy: 429 or 503; unreached: no connection was made; silent: a time-out after that;
    lost: a connection broken off, or an answer that is none; unused: no request was sent.
    """

    host: str
    origin: str
    lease: int
    how: How
    reason: str | None = None
    """What other links to this host are told, should it be given up now."""
    retry_after_s: float = 0.0


Report = Looked | RobotsRead | Asked


class AsyncBook(Protocol):
    """A book of hosts behind an asynchronous interface: in this process (`hosts.Here`) or anywhere in a cluster."""

    async def ask(self, asks: Sequence[Ask]) -> list[Grant]:
        """A grant for each ask, in the same order."""

    async def tell(self, reports: Sequence[Report]) -> None:
        """Take what was found out."""
