"""What became of planted faults: each row's fate, and how well rules, dedup and decontamination found theirs."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.report_sources import Source, selected_among
from jobs.select import REMOVED_FILE
from vlp_core.curation.truth import read_truth
from vlp_core.data.layout import read_shards
from vlp_core.files import wide
from vlp_core.report.fates import EVALUATION, NOT_FETCHED, OTHERWISE, SELECTED, Planted, Truth, matrix, scores


def judged_by(path: Path, source: Source, copies: pa.Table, rules: Sequence[str]) -> Truth:
    """What became of each row of the truth that this list holds; UserError where the file is no such table."""
    truth = read_truth(path, wide(read_shards(source.images, ["uid"]))["uid"].combine_chunks())
    uids = truth["uid"].combine_chunks()
    fate, group = _fates(uids, source, copies)
    planted = Planted(
        kind=truth["kind"].combine_chunks(),
        origin=pc.coalesce(truth["original"].combine_chunks(), uids),
        fate=fate,
        group=group,
    )
    order = [NOT_FETCHED, *rules, *sorted(pc.unique(copies["reason"]).to_pylist()), EVALUATION, OTHERWISE, SELECTED]
    told, rows = matrix(planted, order)
    return Truth(told, rows, scores(planted, rules))


def _fates(uids: pa.Array, source: Source, copies: pa.Table) -> tuple[pa.Array, pa.Array]:
    """What took each picture, and the one that stayed in its place: itself, where it is no copy."""
    assert source.verdicts is not None and source.selection is not None
    verdicts = wide(read_shards(source.verdicts, ["uid", "rule"]))
    judged = pc.index_in(uids, value_set=verdicts["uid"].combine_chunks())
    copied = pc.index_in(uids, value_set=copies["uid"].combine_chunks())
    group = pc.coalesce(copies["kept_uid"].combine_chunks().take(copied), uids)
    removed = wide(pq.read_table(source.selection / REMOVED_FILE, columns=["uid"]))["uid"].combine_chunks()
    went = pc.is_in(group, value_set=removed)
    chosen = pa.array(selected_among(source.selection, pa.chunked_array([uids])))
    passed = pc.coalesce(copies["reason"].combine_chunks().take(copied), pc.if_else(went, EVALUATION, OTHERWISE))
    fell = pc.coalesce(verdicts["rule"].combine_chunks().take(judged), passed)
    fetched = pc.if_else(chosen, SELECTED, fell)  # first: of a uid with two answers one may have gone
    return pc.if_else(judged.is_valid(), fetched, NOT_FETCHED).cast(pa.string()), group
