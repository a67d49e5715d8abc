"""How long fetching takes: the rate between stragglers, and the host that has most to give."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.data.layout import LEDGER_FOLDER, iterate_shards, read_shards
from vlp_core.web.settings import Fetch

_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/:?#]+)"
_MANY = 2**22  # host names that are held before they are counted together


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When the answers of a sample came, in seconds since 1970, and what a link more takes."""

    first: float
    last: float
    a_link: float
    """Seconds: by the answers between the first tenth and the last, for who answers late holds up no one else."""
    links: int

    @property
    def stragglers(self) -> float:
        """Seconds at the end in which only late answers were waited for."""
        return max(0.0, self.last - self.first - self.links * self.a_link)


def pace_of(download: Path) -> Pace:
    asked = read_shards(download / LEDGER_FOLDER, ["last_asked"])["last_asked"]
    times = np.sort(asked.cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy()) / 1000
    early, late = np.quantile(times, [0.1, 0.9])
    return Pace(
        first=float(times[0]),
        last=float(times[-1]),
        a_link=float(late - early) / max(0.8 * len(times), 1),
        links=len(times),
    )


@dataclass(frozen=True, kw_only=True)
class Busiest:
    """The host that most links of a list are on."""

    host: str
    links: int

    def seconds(self, fetch: Fetch) -> float:
        """The least time it takes, at the rate that a host is asked with."""
        return self.links / fetch.per_host_rate if fetch.per_host_rate else 0.0


def busiest_of(pairs: Path) -> Busiest:
    """Memory holds each host's name once, and those of some millions of links."""
    total = _counted([])
    waiting: list[pa.Table] = []
    for table in iterate_shards(pairs, ["url"]):
        found = pc.struct_field(pc.extract_regex(table["url"], _HOST), "host")
        waiting.append(pa.table({"host": pc.utf8_lower(found), "count": pa.array(np.ones(len(table), np.int64))}))
        if sum(map(len, waiting)) > max(_MANY, len(total)):
            total, waiting = _counted([total, *waiting]), []
    total = _counted([total, *waiting])
    if not len(total):
        return Busiest(host="", links=0)
    most = pc.index(total["count"], pc.max(total["count"])).as_py()
    return Busiest(host=total["host"][most].as_py() or "", links=total["count"][most].as_py())


def _counted(tables: Iterable[pa.Table]) -> pa.Table:
    empty = pa.table({"host": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
    added = pa.concat_tables([empty, *tables]).group_by("host").aggregate([("count", "sum")])
    return added.rename_columns(["host", "count"])
