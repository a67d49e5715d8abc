"""What fetching pictures from the web needs to be told."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlp_core.errors import UserError
from vlp_core.settings import by_content, execution
from vlp_core.web.addresses import Allowed, Mapping, literal

MiB = 2**20
Mpx = 1_000_000
# What may stand in a header, between brackets: a link, or an address of mail.
_CONTACT = re.compile(r"(https?://|mailto:|[!-'*-;=?A-Z^-~]+@)[!-'*-;=?-Z_a-z~]+")
ResizeMode = Literal["no", "keep_ratio", "center_crop", "border", "keep_ratio_largest"]


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """How links are fetched and what of them is kept."""

    image_size: int = 256
    """Side in pixels that `resize_mode` brings pictures to."""
    resize_mode: ResizeMode = "keep_ratio"
    """img2dataset's names; keep_ratio: the shorter side becomes `image_size`."""
    resize_only_if_bigger: bool = True
    """Leave smaller pictures at their size."""
    encode_quality: int = 95
    """JPEG quality of what is stored."""
    max_bytes: int = 20 * MiB
    """Largest body that is read, decompressed."""
    max_pixels: int = 64 * Mpx
    """Largest width times height, by the header, that is decoded."""
    max_frames: int = 1000
    """Most frames or pages of a picture that has several; the first is kept."""
    max_redirects: int = 5
    """Redirects followed; each is checked as the first address was."""
    user_agent: str = "vlp"
    """Name given to servers, and the agent whose robots.txt rules and opt-outs are honoured."""
    honour_robots: bool = True
    """Leave out what a host's robots.txt does not allow (RFC 9309), and keep to its Crawl-delay."""
    honour_opt_out: bool = True
    """Leave out what X-Robots-Tag or tdm-reservation says is not for machine learning, mining or indexing."""
    never_store: tuple[Path, ...] = by_content(())
    """Files of hashes of pictures that must never be stored: a line has a sha256, of a body or of a picture as it is
    stored, or phash: and 16 hex digits, and the number of bits that may differ."""

    allow_private: tuple[str, ...] = ()
    """Private or loopback addresses that may be fetched from: HOST:PORT, ADDRESS or NETWORK/BITS."""
    contact: str = execution("")
    """Where whoever is asked finds you: an address of the web or of mail, given in the user agent."""
    resolve: tuple[str, ...] = execution(())
    """Names that are served by an address of yours: NAME=ADDRESS:PORT, such as '*.test=127.0.0.1:8765'."""
    nameservers: tuple[str, ...] = execution(())
    """Name servers to ask, ADDRESS or ADDRESS:PORT; default: the system's."""
    deadline_s: float = execution(20.0)
    """Seconds one attempt may take in all, redirects included."""
    connect_s: float = execution(6.0)
    """Seconds one connection may take to open."""
    budget_s: float = execution(60.0)
    """Seconds one link may take in all, with retries and pauses."""
    retries: int = execution(2)
    """Further attempts after 408, 425, 429, 5xx, a time-out or a lost connection."""
    pause_s: float = execution(1.0)
    """First pause before a retry; doubles each time, with jitter. Retry-After makes it longer."""
    connections: int = execution(1024)
    """Requests in flight in one fetcher."""
    body_bytes: int = execution(256 * MiB)
    """Bytes of bodies in memory at once in one fetcher."""
    lookahead: int = execution(32768)
    """Links that one fetcher has drawn and not finished: so far it looks past hosts that are busy."""
    per_host: int = execution(4)
    """Requests in flight to one host, whoever sends them."""
    per_host_rate: float = execution(10.0)
    """Requests a second to one host, whoever sends them; 0: no limit."""
    threads: int = execution(2)
    """Threads that decode, shrink and encode in one fetcher, which is given as many CPUs."""
    workers: int | None = execution(None)
    """Fetchers, each a process, at most those that the cluster has room for; 0: in the step's own. Default: as many as
    the list has work for."""

    def __post_init__(self) -> None:
        for text in self.allow_private:
            Allowed.parse(text)
        for text in self.resolve:
            Mapping.parse(text)
        for text in self.nameservers:
            _check_nameserver(text)
        for name in ("image_size", "max_bytes", "max_pixels", "max_frames", "threads"):
            _at_least(name, getattr(self, name), 1)
        for name in ("connections", "per_host", "lookahead", "body_bytes"):
            _at_least(name, getattr(self, name), 1)
        for name in ("max_redirects", "retries", "pause_s", "per_host_rate"):
            _at_least(name, getattr(self, name), 0)
        for name in ("deadline_s", "connect_s", "budget_s"):
            if getattr(self, name) <= 0:
                raise UserError(f"{_flag(name)} {getattr(self, name)}: must be more than 0 seconds")
        if not 1 <= self.encode_quality <= 100:
            raise UserError(f"{_flag('encode_quality')} {self.encode_quality}: give a JPEG quality from 1 to 100")
        if self.workers is not None:
            _at_least("workers", self.workers, 0)
        if not self.user_agent or not self.user_agent.isascii() or not self.user_agent.replace("-", "").isalnum():
            raise UserError(f"{_flag('user_agent')} {self.user_agent!r}: give one word of letters, digits and dashes")
        if self.contact and not _CONTACT.fullmatch(self.contact):
            raise UserError(
                f"{_flag('contact')} {self.contact!r}: give a link or a mail address, such as https://example.org/bot"
            )

    @property
    def agent(self) -> str:
        """The User-Agent header: who asks, and where to find them."""
        return f"{self.user_agent}/1.0" + (f" (+{self.contact})" if self.contact else "")


def _flag(name: str) -> str:
    return f"--fetch.{name.replace('_', '-')}"


def _at_least(name: str, value: float, least: int) -> None:
    if value < least:
        raise UserError(f"{_flag(name)} {value}: must be at least {least}")


def _check_nameserver(text: str) -> None:
    host, _, port = text.rpartition(":")
    spelled = text if literal(text) is not None else host if port.isascii() and port.isdigit() else ""
    if literal(spelled) is None:
        raise UserError(f"{_flag('nameservers')} {text!r}: give ADDRESS or ADDRESS:PORT, such as 127.0.0.1:5353")
