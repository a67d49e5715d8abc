"""How a data set differs from another: how values lie, which hosts and words gained, and how many links are new."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.quantities import NUMBER, QUANTITIES
from vlp_core.report.bins import Bins, Numbers, bins_of, one_value
from vlp_core.report.failures import hosts_of
from vlp_core.report.sample import Sample

_WORD = re.compile(r"[^\W\d_]{2,}")
_PRIOR = 1000.0  # words that the prior of log odds counts as
_SHOWN = 12
FEWEST = 100
"""Pictures of each data set below which what differs says nothing of a drift: chance alone may part them by a fifth."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far a quantity moved.

    distance  numbers: the Kolmogorov-Smirnov distance, the largest gap between the two distribution functions; words:
              the total variation distance; both 0 (equal) to 1
    middles   the medians, or the commonest words, of this and the other
    shares    of the values in each bin (or of each word), this and the other
    single    what is said where nearly all values of both are the same
    """

    quantity: str
    distance: float
    middles: tuple[str, str]
    shares: tuple[Numbers, Numbers]
    bins: Bins | None = None
    words: tuple[str, ...] = ()
    single: str | None = None


def shifts_of(here: Sample, there: Sample) -> list[Shift]:
    """Every quantity that both know, among what is selected: the ones that moved most first."""
    found = []
    for quantity in here.values:
        if quantity in there.values:
            mine, others = here.chosen(quantity), there.chosen(quantity)
            if len(mine) and len(others):
                found.append(
                    _of_numbers(quantity, mine, others) if _number(quantity) else _of_words(quantity, mine, others)
                )
    hosts = [_hosts(sample) for sample in (here, there)]
    if all(len(one) for one in hosts):
        found.append(_of_words("host", *hosts))
    return sorted(found, key=lambda shift: -shift.distance)


def _number(quantity: str) -> bool:
    return QUANTITIES[quantity].words is NUMBER


def _hosts(sample: Sample) -> NDArray[np.generic]:
    urls = sample.pictures["url"].combine_chunks().filter(pa.array(sample.selected))
    return np.array(hosts_of(urls).to_pylist(), object)


def _of_numbers(quantity: str, here: NDArray[np.generic], there: NDArray[np.generic]) -> Shift:
    mine, others = np.sort(here.astype(np.float64)), np.sort(there.astype(np.float64))
    both = np.concatenate([mine, others])
    bins = bins_of(both, number=24)
    middles = (f"{np.median(mine):.4g}", f"{np.median(others):.4g}")
    shares = (bins.counts(mine) / len(mine), bins.counts(others) / len(others))
    return Shift(
        quantity=quantity,
        distance=gap(mine, others),
        middles=middles,
        shares=shares,
        bins=bins,
        single=one_value(both),
    )


def gap(left: Numbers, right: Numbers) -> float:
    """The two-sample Kolmogorov-Smirnov statistic of sorted values."""
    at = np.concatenate([left, right])
    shares = [np.searchsorted(values, at, "right") / len(values) for values in (left, right)]
    return float(np.abs(shares[0] - shares[1]).max())


def by_chance(here: int, there: int) -> float:
    """The Kolmogorov-Smirnov distance that two draws of so many from one distribution exceed once in twenty times,
    by its asymptotic law (Smirnov 1948); at most 1."""
    if not here or not there:
        return 1.0
    return float(min(1.0, np.sqrt(-np.log(0.05 / 2) / 2 * (here + there) / (here * there))))


def _of_words(quantity: str, here: NDArray[np.generic], there: NDArray[np.generic]) -> Shift:
    counts = [Counter(str(word) for word in words) for words in (here, there)]
    names = sorted(counts[0] | counts[1])
    shares = [np.array([count[name] for name in names]) / count.total() for count in counts]
    moved = np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")[:_SHOWN]
    return Shift(
        quantity=quantity,
        distance=float(np.abs(shares[0] - shares[1]).sum() / 2),
        middles=(counts[0].most_common(1)[0][0], counts[1].most_common(1)[0][0]),
        shares=(shares[0][moved], shares[1][moved]),
        words=tuple(names[place] for place in moved),
    )


@dataclass(frozen=True)
class Word:
    """A word of captions, how often it stands in a thousand of them here and there, and its z-score."""

    text: str
    here: float
    there: float
    score: float


def words_of(here: Sample, there: Sample, most: int = 50_000) -> tuple[Sequence[Word], Sequence[Word]]:
    """The words that gained most, and those that lost, among at most so many captions of each.

    By log odds with an informative Dirichlet prior (Monroe et al., Fightin' Words, 2008, section 3.4.1).
    """
    counts, totals = [], []
    for sample in (here, there):
        texts = sample.texts.filter(pa.array(sample.chosen_captions))
        step = max(1, len(texts) // most)
        texts = texts.take(pa.array(np.arange(0, len(texts), step))).to_pylist()
        totals.append(max(1, len(texts)))
        counts.append(Counter(word for text in texts for word in set(_WORD.findall((text or "").lower()))))
    names = sorted(counts[0] | counts[1])
    if len(names) < 2:
        return [], []
    mine, others = (np.array([count[name] for name in names], np.float64) for count in counts)
    scores = _log_odds(mine, others)
    order = np.argsort(-scores, kind="stable")

    def told(places: Sequence[np.int64]) -> list[Word]:
        return [
            Word(names[at], 1000 * mine[at] / totals[0], 1000 * others[at] / totals[1], float(scores[at]))
            for at in places
        ]

    return told([at for at in order[:_SHOWN] if scores[at] > 2]), told(
        [at for at in order[::-1][:_SHOWN] if scores[at] < -2]
    )


def _log_odds(here: Numbers, there: Numbers) -> Numbers:
    prior = _PRIOR * (here + there) / (here + there).sum()
    odds, variance = [], np.zeros(len(here))
    for counts in (here, there):
        with_prior = counts + prior
        odds.append(np.log(with_prior / (counts.sum() + prior.sum() - with_prior)))
        variance += 1 / with_prior
    return (odds[0] - odds[1]) / np.sqrt(variance)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Links and pictures of both: in how many of each `every` they were looked at, by their hash.

    hashed  whether both have hashes of their pictures: without, nothing is known of `changed` and `pictures_shared`
    """

    links: int
    links_there: int
    shared: int
    changed: int
    pictures_shared: int
    pictures: int
    every: int
    hashed: bool


def overlap(here: pa.Table, there: pa.Table, every: int) -> Overlap:
    """Of tables (uid, sha256) of the same share of all uids: links in both, those whose picture changed, and pictures
    that both have under whatever link."""
    at = pc.index_in(here["uid"], value_set=there["uid"].combine_chunks())
    both = at.is_valid()
    mine, others = here["sha256"].filter(both), there["sha256"].take(at.drop_null())
    bytes_here, bytes_there = (pc.drop_null(pc.unique(table["sha256"])) for table in (here, there))
    again = pc.is_in(bytes_here, value_set=bytes_there)
    return Overlap(
        links=len(here), links_there=len(there), shared=pc.sum(both, min_count=0).as_py(),
        changed=pc.sum(pc.not_equal(mine, others), min_count=0).as_py(),
        pictures_shared=pc.sum(again, min_count=0).as_py(), pictures=len(bytes_here), every=every,
        hashed=len(bytes_here) > 0 and len(bytes_there) > 0,
    )  # fmt: skip
