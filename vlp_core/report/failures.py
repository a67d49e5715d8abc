"""Links that gave no picture: by reason, and by host."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.web.reasons import class_of

_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]+)"
NO_HOST = "(none)"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class of reasons, how many rows have it, and the reasons by how often they stand."""

    name: str
    rows: int
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a host gave: rows that name it, pictures, and the commonest reason for none."""

    name: str
    rows: int
    failed: int
    reason: str


def kinds_of(reasons: Mapping[str, int]) -> list[Kind]:
    """Reasons with their counts, by class, the largest first."""
    classes: dict[str, Counter[str]] = {}
    for reason, count in reasons.items():
        classes.setdefault(class_of(reason), Counter())[reason] += count
    kinds = [
        Kind(name=name.replace("_", " "), rows=found.total(), reasons=tuple(found.most_common(8)))
        for name, found in classes.items()
    ]
    return sorted(kinds, key=lambda kind: (-kind.rows, kind.name))


def hosts_of(urls: pa.Array) -> pa.Array:
    """The host of each url, in small letters; "(none)" for what is no url."""
    found = pc.struct_field(pc.extract_regex(urls, _HOST), "host")
    return pc.fill_null(pc.utf8_lower(found), NO_HOST)


def host_of(url: str) -> str | None:
    """As `hosts_of`, of one url; None of what is none."""
    found = re.match(_HOST, url)
    return found["host"].lower() if found else None


def by_host(listed: pa.Table) -> list[Host]:
    """All hosts of the listed rows, those with most rows first."""
    codes = pc.dictionary_encode(hosts_of(listed["url"].combine_chunks()))
    names, code = codes.dictionary.to_pylist(), codes.indices.to_numpy()
    reasons = pc.dictionary_encode(listed["error_message"].combine_chunks())
    failed = reasons.is_valid().to_numpy(zero_copy_only=False)
    rows = np.bincount(code, minlength=len(names))
    lost = np.bincount(code[failed], minlength=len(names))
    common = _commonest(code[failed], pc.drop_null(reasons.indices).to_numpy(), reasons.dictionary.to_pylist())
    hosts = [
        Host(name=name, rows=int(rows[at]), failed=int(lost[at]), reason=common.get(at, ""))
        for at, name in enumerate(names)
    ]
    return sorted(hosts, key=lambda host: (-host.rows, host.name))


def _commonest(hosts: np.ndarray, reasons: np.ndarray, words: list[str]) -> dict[int, str]:
    """The commonest reason of each host that has one."""
    if not len(hosts):
        return {}
    pairs, counts = np.unique(np.stack([hosts, reasons]), axis=1, return_counts=True)
    order = np.lexsort((counts, pairs[0]))  # the last of a host is its commonest
    return {int(host): words[reason] for host, reason in pairs[:, order].T}
