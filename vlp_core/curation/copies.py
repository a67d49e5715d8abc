"""Which pictures are copies of which, and which of them stays.

Rank decides: the larger original picture comes first, then the better score, then the one that stands earlier in the
list. Going down the ranks, a picture that nothing before it has claimed stays and claims all unclaimed copies within
reach of itself: stars, not chains, so that two pictures are never merged for a third that lies between them.

What looks alike is known of all fetched pictures before any rule is asked (`Alike`); what the rules leave of it is
walked here, in whole columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlp_core.errors import UserError
from vlp_core.files import write_table

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

EXACT = "exact"
NEAR = "near"

_GROUPS_FILE, _PAIRS_FILE = "groups.parquet", "pairs.parquet"
_GROUPS = pa.schema([("same", pa.int32()), ("look", pa.int32()), ("area", pa.int64())])
_PAIRS = pa.schema([("left", pa.int32()), ("right", pa.int32())])


@dataclass(frozen=True, kw_only=True, eq=False)
class Alike:
    """What is alike among the fetched pictures, which are known by their rows: their places over all shards."""

    same: NDArray[np.int32]
    """[N]: the first row with the same bytes (or of the same url)."""
    look: NDArray[np.int32]
    """[N]: the row that stands for all that look the same, itself among them."""
    area: Rows
    """[N]: pixels of the original picture."""
    left: NDArray[np.int32]
    """[P]: a look that is near `right`; each pair once."""
    right: NDArray[np.int32]
    """[P]"""

    def write(self, folder: Path) -> None:
        write_table(folder / _GROUPS_FILE, pa.table([self.same, self.look, self.area], schema=_GROUPS))
        write_table(folder / _PAIRS_FILE, pa.table([self.left, self.right], schema=_PAIRS))

    @staticmethod
    def read(folder: Path) -> "Alike":
        """What `write` wrote; UserError where it is not there."""
        try:
            tables = [pq.read_table(folder / name) for name in (_GROUPS_FILE, _PAIRS_FILE)]
            return Alike(**{name: table[name].to_numpy() for table in tables for name in table.column_names})
        except (OSError, pa.ArrowException, TypeError) as error:
            raise UserError(f"{folder}: not a readable list of near pictures ({error}); run that step again") from error


def kept_rows(passed: NDArray[np.bool_], alike: Alike, score: Floats) -> Rows:
    """[N]: for each row that passed the row that stays for it, itself where it stays; -1 for any other row.

    `score` [N] decides between originals of one size; nan is below all.
    """
    rows = np.flatnonzero(passed)
    kept = np.full(len(passed), -1, np.int64)
    kept[rows] = rows
    size = np.bincount(alike.look[rows], minlength=len(passed))
    there = (size[alike.left] > 0) & (size[alike.right] > 0)
    left, right = alike.left[there], alike.right[there]
    in_question = size > 1
    in_question[left] = in_question[right] = True
    rows = rows[in_question[alike.look[rows]]]
    rows = rows[_ranked(alike.area[rows], score[rows])]
    looks, first, look = np.unique(alike.look[rows], return_index=True, return_inverse=True)
    by_rank = np.argsort(first)  # the looks that are in question are numbered by the rank of their best
    number = np.empty(len(looks), np.int64)
    number[by_rank] = np.arange(len(looks))
    place = [number[np.searchsorted(looks, end)] for end in (left, right)]
    star = stars(len(looks), np.minimum(*place), np.maximum(*place))
    best = rows[first[by_rank]]
    kept[rows] = best[star[number[look]]]
    return kept


def _ranked(area: Rows, score: Floats) -> Rows:
    """Places in order of rank; equal ones as they stand."""
    known = np.where(np.isnan(score), -np.inf, score)
    return np.lexsort((-known, -area))


def stars(count: int, left: Rows, right: Rows) -> Rows:
    """[count]: for each of them, numbered by rank, the centre that claims it; `left` < `right` are near one another.

    In rounds: whoever has none before it that may yet stay, stays; whom those claim, goes. Random ranks make for
    O(log n) rounds (Fischer and Noever, Tight Analysis of Parallel Randomized Greedy MIS, 2018).
    """
    open_, stays = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    first, second = left, right
    while len(first):
        before = np.zeros(count, dtype=bool)
        before[second] = True
        stays |= open_ & ~before
        open_ &= before
        open_[second[stays[first]]] = False
        undecided = open_[first] & open_[second]
        first, second = first[undecided], second[undecided]
    stays |= open_
    centre = np.arange(count)
    claims = stays[left] & ~stays[right]
    centre[~stays] = count
    np.minimum.at(centre, right[claims], left[claims])
    return centre


def handed_over(captions: pa.LargeListArray, kept: Rows) -> pa.LargeListArray:
    """[N]: of each row that stays its own captions, then those of its copies in order, each once; of copies none.

    `kept` [N] is the place, among these rows, of the one that stays.
    """
    own = pc.list_parent_indices(captions).to_numpy()
    words = pc.dictionary_encode(pc.list_flatten(captions))
    code = words.indices.to_numpy()
    order = np.lexsort((np.arange(len(own)), own != kept[own], kept[own]))
    owner, code = kept[own][order], code[order]
    _, at = np.unique(owner * max(1, len(words.dictionary)) + code, return_index=True)
    at.sort()
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[at], minlength=len(kept)))])
    return pa.LargeListArray.from_arrays(pa.array(offsets), words.dictionary.take(pa.array(code[at])))


def groups_to_show(kept: Rows, near: NDArray[np.bool_], most: int, members: int) -> list[Sequence[int]]:
    """The one that stays and some of its copies, of a few groups: those with near copies first, then the largest.

    `kept` [N] names for each row the one that stays (-1: it did not pass), `near` [N] whether it is a near copy.
    """
    copies = np.flatnonzero((kept >= 0) & (kept != np.arange(len(kept))))
    stays, group = np.unique(kept[copies], return_inverse=True)
    size = np.bincount(group, minlength=len(stays))
    with_near = np.bincount(group[near[copies]], minlength=len(stays))
    chosen = np.lexsort((-size, -np.minimum(with_near, 1)))[:most].tolist()
    return [[int(stays[one]), *copies[group == one][: members - 1].tolist()] for one in chosen]
