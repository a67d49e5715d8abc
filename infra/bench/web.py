#!/usr/bin/env python
"""How much of the CPU's rate is left when the web is slow, partly dead and to be treated with politeness.

    infra/bench/web.py                      # or: make bench-web

Plays a web of 10,000 host names on loopback (a name server and an HTTP server in a process of their own): answers begin
after 300 ms (the median of a log-normal), a quarter of the hosts is dead (a third of these has no name, a third refuses
connections, a third takes none) and one in twenty hangs (half of these when their names are looked up, half when they
are asked). One host in a hundred has ten times the links of others, more than may be asked of it at once. Before that
and after it, a twelfth as many hosts are fetched where nobody waits: they answer without any delay, may be asked
without a limit, and those that would keep silent refuse or have no name instead. That is what the CPU allows, with what
the dead cost of it; a machine that others share changes its speed, for which the CPU time of decoding one picture makes
up. Else time-outs, retries and limits are the defaults of `--fetch`; robots.txt is read
of each host; pictures are decoded, shrunk and encoded as they are stored.
"""

import os
import random
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Lock

import tyro
from played_web import Played, Seen, Web, played

from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link
from vlp_core.web.picture import make_store
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import sniff

_SHARE, _LOOKUPS = 0.9, 1.1  # to be reached
_LARGE, _TIMES = 100, 10
_AT_ONCE = {"silent": "refusing", "hanging": "refusing", "unlooked": "nameless"}


@dataclass(frozen=True, kw_only=True)
class Bench:
    hosts: int = 10_000
    links: int = 8
    """Links of a host; one in a hundred has ten times as many."""
    median_s: float = 0.3
    width: int = 640
    height: int = 480
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """One crawl: the seconds it took, on the clock and of this process's CPU, and what came of its links."""

    wall_s: float
    cpu_s: float
    decoding_s: float
    """Of CPU, the same for each picture of either web."""
    reasons: Counter[str]
    seen: Seen

    @property
    def pictures(self) -> int:
        return self.reasons["picture"]

    @property
    def rate(self) -> float:
        return self.pictures / self.wall_s

    @property
    def decoding_ms(self) -> float:
        return self.decoding_s / self.pictures * 1e3


def names(hosts: int, *, slow: bool) -> Iterator[str]:
    """Names of hosts, which begin with what they do; where the web is not `slow`, they do it at once."""
    for number in range(hosts):
        kind = "alive"
        if number % 20 < 5:
            kind = ("nameless", "refusing", "silent")[number // 20 % 3]
        elif number % 20 == 5:
            kind = ("unlooked", "hanging")[number // 20 % 2]
        yield f"{kind if slow else _AT_ONCE.get(kind, kind)}-{number}.example"


def links(bench: Bench, web: Played, hosts: int, *, slow: bool) -> list[str]:
    ports = {"refusing": web.refusing, "silent": web.silent}
    found = []
    for number, name in enumerate(names(hosts, slow=slow)):
        port = ports.get(name.partition("-")[0], web.port)
        many = bench.links * (_TIMES if number % _LARGE == _LARGE - 1 else 1)
        found += [f"http://{name}:{port}/{picture}.jpg" for picture in range(many)]
    random.Random(bench.seed).shuffle(found)
    return found


def fetched(bench: Bench, web: Web, hosts: int, *, slow: bool) -> Run:
    with played(web) as (where, seen):
        urls = links(bench, where, hosts, slow=slow)
        fetch = Fetch(nameservers=(where.nameserver,), allow_private=("127.0.0.1",))
        if not slow:
            fetch = replace(fetch, per_host_rate=0.0, per_host=fetch.connections)
        store, reasons, lock = make_store(fetch), Counter[str](), Lock()
        decoding: list[float] = []

        def handle(_: int, answer: Answer) -> None:
            came = answer.reason
            if answer.body is not None:
                since = time.thread_time()
                stored = store(answer.body, sniff(answer.body))
                decoding.append(time.thread_time() - since)
                came = stored if isinstance(stored, str) else "picture"
            with lock:
                reasons[came or ""] += 1

        wall, cpu = time.monotonic(), time.process_time()
        crawl(((number, Link(url)) for number, url in enumerate(urls)), fetch, handle)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    assert reasons.total() == len(urls)
    return Run(wall, cpu, sum(decoding), reasons, seen[0])


def main(bench: Bench) -> int:
    size = {"width": bench.width, "height": bench.height}
    at_once, few = Web(median_s=0.0, lookup_s=0.0, **size), max(100, bench.hosts // 12)
    before = fetched(bench, at_once, few, slow=False)
    print(f"what the CPU allows: {_said(before)}", flush=True)
    hard = fetched(bench, Web(median_s=bench.median_s, **size), bench.hosts, slow=True)
    print(f"the web:             {_said(hard)}", flush=True)
    after = fetched(bench, at_once, few, slow=False)
    print(f"what the CPU allows: {_said(after)}")
    print("answers: " + ", ".join(f"{count:,} × {reason}" for reason, count in hard.reasons.most_common()))
    allowed = statistics.mean(easy.rate * easy.decoding_ms / hard.decoding_ms for easy in (before, after))
    share, limit = hard.rate / allowed, int(Fetch().per_host_rate)
    looked = sum(hard.seen.lookups.values()) / bench.hosts
    ok = [share >= _SHARE, looked <= _LOOKUPS, hard.seen.fastest <= limit]
    said = ["as it should be" if each else "NOT as it should be" for each in ok]
    print(f"rate                 {share:.0%} of what the CPU allows ({_SHARE:.0%} at least): {said[0]}")
    print(f"look-ups a host      {looked:.3f} ({_LOOKUPS} at most): {said[1]}")
    print(f"fastest of any host  {hard.seen.fastest} requests in one second (limit {limit}): {said[2]}")
    print(f"memory               {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:,.0f} MiB at most")
    return 0 if all(ok) else 1


def _said(run: Run) -> str:
    ours, servers = (seconds / run.pictures * 1e3 for seconds in (run.cpu_s, run.seen.cpu_s))
    cores = os.cpu_count() or 1
    busy = (ours + servers) * run.rate / 1e3 / cores
    return (
        f"{run.rate:,.0f} pictures/s ({run.pictures:,} of {run.reasons.total():,} links in {run.wall_s:.1f} s;"
        f" {ours:.2f} ms of CPU each, {run.decoding_ms:.2f} of it decoding, and {servers:.2f} for the server;"
        f" {run.seen.connections / run.pictures:.2f} connections each;"
        f" {busy:.0%} of {cores} cores)"
    )


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Bench, description=__doc__)))
