"""What a report is made from: some shards of a data set with their columns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.columns import columns as stored_columns
from jobs.measure import fetched
from vlp_core.curation.quantities import JUDGES, QUANTITIES, of_captions, unknown
from vlp_core.curation.shard import Shard
from vlp_core.data.layout import SELECTION_FILE, SUCCESS, iterate_shards, shard_names
from vlp_core.data.stored import read_rows
from vlp_core.errors import UserError
from vlp_core.files import wide
from vlp_core.report.sample import Bools, Sample, evenly, joined

_IDENTITIES = 200_000  # links of a data set, at most about, that are compared with those of another


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set lies; without verdicts nothing was asked of it, without a selection all of it is in it.

    `copies` says whose captions a selection has.
    """

    images: Path
    columns: tuple[Path, ...] = ()
    verdicts: Path | None = None
    copies: Path | None = None
    selection: Path | None = None


def sample_of(source: Source, rows: int) -> Sample:
    """About so many rows of the list, in whole shards that are spread over all."""
    names = shard_names(source.images)
    if not names:
        raise UserError(f"{source.images}: no shards of pictures in this folder; give the output folder of download")
    with pq.ParquetFile(source.images / f"{names[0]}.parquet") as first:
        some = evenly(names, -(-rows // max(1, first.metadata.num_rows)))
    parts = [_part(source, name) for name in some]
    pictures = joined([part.pictures for part in parts])
    selected, chosen = _chosen(source, pictures, np.concatenate([part.passed for part in parts]))
    return Sample(
        listed=joined([part.listed for part in parts]),
        pictures=pictures,
        values=_together(parts),
        rule=pa.concat_arrays([part.rule for part in parts]),
        selected=selected,
        chosen_captions=chosen,
        shards=len(some),
        shards_in_all=len(names),
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    listed: pa.Table
    pictures: pa.Table
    values: dict[str, np.ndarray | None]
    rule: pa.Array
    passed: Bools


def _part(source: Source, name: str) -> _Part:
    pictures = fetched(source.images, name)
    if "sha256" not in pictures.column_names:
        pictures = pictures.append_column("sha256", pa.nulls(len(pictures), pa.string()))
    rule, passed = pa.nulls(len(pictures), pa.string()), np.ones(len(pc.list_flatten(pictures["captions"])), bool)
    if source.verdicts is not None:
        verdicts = pq.read_table(source.verdicts / f"{name}.parquet", columns=["rule", "captions"])
        rule = verdicts["rule"].combine_chunks()
        passed = _passed(pictures["captions"].combine_chunks(), verdicts["captions"].combine_chunks())
    return _Part(
        listed=wide(_listed(read_rows(source.images, name))),
        pictures=wide(pictures.select(["uid", "url", "sha256", "captions"])),
        values=_values(source.columns, name, pictures),
        rule=rule,
        passed=passed,
    )


def _passed(captions: pa.ListArray, left: pa.ListArray) -> Bools:
    """Which captions, one after the other, are among those that are left of their picture's."""
    mine, theirs = _keys(*((pc.list_flatten(of), pc.list_parent_indices(of).to_numpy()) for of in (captions, left)))
    return np.isin(mine, theirs)


def _keys(*sides: tuple[pa.Array, np.ndarray]) -> list[np.ndarray]:
    """Of captions and the rows they are of: numbers, equal where both are."""
    texts = pc.dictionary_encode(pa.concat_arrays([text for text, _ in sides]), null_encoding="encode")
    keys = np.concatenate([row for _, row in sides]) * max(1, len(texts.dictionary)) + texts.indices.to_numpy()
    return np.split(keys, np.cumsum([len(row) for _, row in sides])[:-1])


def _chosen(source: Source, pictures: pa.Table, passed: Bools) -> tuple[Bools, Bools]:
    """Which pictures a selection has, and which captions: that of a copy, where the one that stays has it of no other.

    `passed` [captions] are those that no rule took.
    """
    if source.selection is None:
        return np.ones(len(pictures), bool), passed
    uids, captions = (pictures[name].combine_chunks() for name in ("uid", "captions"))
    stays = _kept(source.copies, uids)
    chosen = _selected_rows(source.selection, stays)
    names, texts = (chosen[name].combine_chunks() for name in ("uid", "captions"))
    owner = pc.list_parent_indices(captions).to_numpy()
    row = pc.fill_null(pc.index_in(stays, value_set=names), len(chosen)).to_numpy().astype(np.int64)[owner]
    mine, theirs = _keys(
        (pc.list_flatten(captions), row), (pc.list_flatten(texts), pc.list_parent_indices(texts).to_numpy())
    )
    found = np.flatnonzero(passed & np.isin(mine, theirs))
    handed = pc.not_equal(stays, uids).to_numpy(zero_copy_only=False)[owner]
    found = found[np.argsort(handed[found], kind="stable")]  # a picture's own come first
    each_once = np.zeros(len(owner), bool)
    each_once[found[np.unique(mine[found], return_index=True)[1]]] = True
    return pc.is_in(uids, value_set=names).to_numpy(zero_copy_only=False), each_once


def _kept(copies: Path | None, uids: pa.Array) -> pa.Array:
    """The uid of the picture that stays for each: its own, where it is no copy."""
    if copies is None:
        return uids
    some = [
        wide(table.filter(pc.is_in(table["uid"], value_set=uids.cast(table["uid"].type))))
        for table in iterate_shards(copies, ["uid", "kept_uid"])
    ]
    found = joined([pa.table({name: uids.slice(0, 0) for name in ("uid", "kept_uid")}), *some])
    at = pc.index_in(uids, value_set=found["uid"].combine_chunks())
    return pc.coalesce(found["kept_uid"].combine_chunks().take(at), uids)


def _selected_rows(selection: Path, uids: pa.Array) -> pa.Table:
    """uid and captions of the rows of a selection that have one of these uids."""
    names = pc.unique(uids)
    with pq.ParquetFile(selection / SELECTION_FILE) as file:
        some = [
            rows.filter(pc.is_in(rows["uid"], value_set=names.cast(rows["uid"].type)))
            for rows in file.iter_batches(columns=["uid", "captions"])
        ]
        schema = file.schema_arrow
    empty = pa.schema([schema.field(name) for name in ("uid", "captions")]).empty_table()
    return wide(pa.concat_tables([empty, *(pa.Table.from_batches([rows]) for rows in some)]))


def _listed(rows: pa.Table) -> pa.Table:
    """uid, url, and why there is no picture: null where there is one."""
    return pa.table({"uid": rows["uid"], "url": rows["url"], "error_message": _reasons(rows)})


def _reasons(rows: pa.Table) -> pa.Array:
    status = rows["status"]
    why = status
    if "error_message" in rows.column_names:
        why = pc.coalesce(rows["error_message"].cast(pa.string()), status)
    return pc.if_else(pc.equal(status, SUCCESS), pa.scalar(None, pa.string()), why)


def _values(columns: Sequence[Path], name: str, pictures: pa.Table) -> dict[str, np.ndarray | None]:
    """Every quantity that a column has; what costs little is worked out where none has it."""
    measured = {quantity for folder in columns for quantity in pq.read_schema(folder / f"{name}.parquet").names}
    values = stored_columns(columns, name, measured & QUANTITIES.keys())
    shard = Shard(rows=pictures)
    for judge in JUDGES.values():
        if judge.measure is not None and not judge.costly and not measured.issuperset(judge.gives):
            found = judge.measure(shard)
            values |= {
                name: pa.array(found[name]).to_numpy(zero_copy_only=False) if name in found else None
                for name in judge.gives
                if name not in measured
            }
    return values


def _together(parts: Sequence[_Part]) -> dict[str, np.ndarray]:
    """The values of all parts, one after the other; a quantity that no part knows is left out."""
    together = {}
    for quantity in QUANTITIES:
        found = [part.values.get(quantity) for part in parts]
        if any(values is not None and len(values) for values in found):
            sizes = [pc.sum(pc.list_value_length(part.pictures["captions"])).as_py() or 0 for part in parts]
            lengths = sizes if of_captions(quantity) else [len(part.pictures) for part in parts]
            together[quantity] = np.concatenate(
                [
                    unknown(quantity, size) if values is None else values
                    for values, size in zip(found, lengths, strict=True)
                ]
            )
    return together


def reasons_of(images: Path) -> dict[str, int]:
    """How often each reason for no picture stands, in all shards."""
    reasons: Counter[str] = Counter()
    for name in shard_names(images):
        with pq.ParquetFile(images / f"{name}.parquet") as file:
            here = [name for name in ("status", "error_message") if name in file.schema_arrow.names]
            for pair in pc.value_counts(_reasons(file.read(columns=here)).combine_chunks()).to_pylist():
                if pair["values"] is not None:
                    reasons[pair["values"]] += pair["counts"]
    return dict(reasons)


def every_for(fetched: int) -> int:
    """One link in how many is compared with those of another data set."""
    every = 1
    while fetched // every > _IDENTITIES:
        every *= 16
    return every


def identities(images: Path, every: int) -> pa.Table:
    """uid and sha256 (null where it is not known) of the fetched pictures, of one in `every` (a power of 16) links by
    their hash."""
    digits = "0" * round(np.log(every) / np.log(16))
    parts = []
    for name in shard_names(images):
        index = images / f"{name}_index.parquet"
        rows = pq.read_table(index, columns=["uid", "sha256"]) if index.exists() else _hashed(images, name)
        parts.append(rows.filter(pc.starts_with(rows["uid"], digits)))
    return joined(parts)


def _hashed(images: Path, name: str) -> pa.Table:
    """uid and sha256 of a shard's pictures; null where they were not hashed, for that would be to read them all."""
    rows = read_rows(images, name, ["uid", "sha256", "status"])
    rows = rows.filter(pc.equal(rows["status"], SUCCESS))
    hashed = rows["sha256"] if "sha256" in rows.column_names else pa.nulls(len(rows), pa.string())
    return pa.table({"uid": rows["uid"], "sha256": hashed})
