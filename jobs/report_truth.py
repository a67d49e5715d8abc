"""What became of planted faults: each row's fate, and how well rules, dedup and decontamination found theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.report_sources import Source
from jobs.select import REMOVED_FILE
from vlp_core.curation.truth import read_truth
from vlp_core.data.layout import SELECTION_FILE, read_shards
from vlp_core.files import wide
from vlp_core.report.fates import (
    COPIES,
    EVALUATION,
    NOT_FETCHED,
    OTHER_SETS,
    SELECTED,
    SEMANTIC,
    Planted,
    Truth,
    matrix,
    scores,
)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What took pictures after the rules.

    copies       uid, kept_uid and reason of those that went for copies
    semantic     the same of those that went since others show the same
    evaluations  names of the evaluation sets: what went for any other was in another data set
    last         what took the others, which no table lists: balancing, a number that was asked for
    """

    copies: pa.Table
    semantic: pa.Table | None
    evaluations: Sequence[str]
    last: Sequence[str]


def judged_by(path: Path, source: Source, taken: Taken, rules: Sequence[str]) -> Truth:
    """What became of each row of the truth that this list holds; UserError where the file is no such table."""
    listed = pc.unique(wide(read_shards(source.images, ["uid"]))["uid"])
    truth = read_truth(path, listed)
    uids = truth["uid"].combine_chunks()
    fate, group = _fates(uids, source, taken)
    planted = Planted(
        kind=truth["kind"].combine_chunks(),
        origin=pc.coalesce(truth["original"].combine_chunks(), uids),
        fate=fate,
        group=group,
    )
    copies = sorted(_copies(pc.unique(taken.copies["reason"])).to_pylist())
    order = [NOT_FETCHED, *rules, *copies, EVALUATION, OTHER_SETS, SEMANTIC, _last(taken), SELECTED]
    told, rows = matrix(planted, order)
    return Truth(pc.count_distinct(uids).as_py(), len(listed), told, rows, scores(planted, rules))


def _last(taken: Taken) -> str:
    """What took pictures that no step lists: they are told apart where only one did."""
    return " or ".join(taken.last) or "otherwise"


def _copies(reasons: pa.Array) -> pa.Array:
    before, between = (pa.scalar(text, pa.large_string()) for text in (COPIES, ": "))
    return pc.binary_join_element_wise(before, reasons, between)


def _fates(uids: pa.Array, source: Source, taken: Taken) -> tuple[pa.Array, pa.Array]:
    """What took each picture, and the one that stayed in its place: itself, where it is no copy."""
    assert source.verdicts is not None and source.selection is not None
    verdicts = wide(read_shards(source.verdicts, ["uid", "rule"]))
    judged = pc.index_in(uids, value_set=verdicts["uid"].combine_chunks())
    copied = pc.index_in(uids, value_set=taken.copies["uid"].combine_chunks())
    group = pc.coalesce(taken.copies["kept_uid"].combine_chunks().take(copied), uids)
    fell = pc.coalesce(  # in the order of the funnel
        verdicts["rule"].combine_chunks().take(judged),
        _copies(taken.copies["reason"].combine_chunks().take(copied)),
        _removed(group, source.selection, taken.evaluations),
        _among(uids, taken.semantic, SEMANTIC),
        pa.scalar(_last(taken), pa.large_string()),
    )
    # Selected first: of a uid with two answers one may have gone.
    fetched = pc.if_else(_selected(uids, source.selection), SELECTED, fell)
    return pc.if_else(judged.is_valid(), fetched, NOT_FETCHED).cast(pa.string()), group


def _removed(group: pa.Array, selection: Path, evaluations: Sequence[str]) -> pa.Array:
    """Of what went with its group, where that was found; null of the rest."""
    removed = wide(pq.read_table(selection / REMOVED_FILE, columns=["uid", "against"]))
    named = pc.is_in(removed["against"], value_set=pa.array(evaluations, pa.large_string()))
    where = pc.if_else(named, EVALUATION, OTHER_SETS).cast(pa.large_string()).combine_chunks()
    return where.take(pc.index_in(group, value_set=removed["uid"].combine_chunks()))


def _among(uids: pa.Array, table: pa.Table | None, fate: str) -> pa.Array:
    if table is None:
        return pa.nulls(len(uids), pa.large_string())
    found = pc.is_in(uids, value_set=table["uid"].combine_chunks())
    return pc.if_else(found, pa.scalar(fate, pa.large_string()), pa.scalar(None, pa.large_string()))


def _selected(uids: pa.Array, selection: Path) -> pa.Array:
    found = np.zeros(len(uids), bool)
    with pq.ParquetFile(selection / SELECTION_FILE) as file:
        for batch in file.iter_batches(columns=["uid"]):
            found |= pc.is_in(uids, value_set=batch.column("uid").cast(uids.type)).to_numpy(zero_copy_only=False)
    return pa.array(found)
