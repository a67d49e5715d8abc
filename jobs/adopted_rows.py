"""What the rows of a set that is there do not say of its pictures: taken from where these lie, or from themselves."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.adopted_picture import REFUSED, Stored, examine
from vlp_core.data.layout import IMAGES, SUCCESS

_SEEN = ("width", "height", "original_width", "original_height", "sha256", "bytes", "format")


def filled(rows: pa.Table, at: pa.Table) -> pa.Table:
    """IMAGES with `bytes` and `format` as the pictures are stored, where nobody wrote down how they came.

    `at` has the `length` of each row's that succeeded, and its `format` where its name says that.
    """
    came = _came(rows)
    for name, given in (("bytes", "length"), ("format", "format")):
        known = rows[name].filter(came)
        if known.null_count and given in at.column_names:
            rows = _set(rows, came, name, pc.coalesce(known, at[given].cast(IMAGES.field(name).type)))
    return rows


def decoded(rows: pa.Table, at: pa.Table, bodies: Iterable[bytes]) -> tuple[pa.Table, pa.Table]:
    """Both without the pictures that cannot be decoded, whose rows failed; what rows do not say is as it is stored.

    `bodies` are the pictures of the rows that succeeded, in their order.
    """
    came = _came(rows)
    found = [examine(body) for body in bodies]
    good = pa.array([isinstance(one, Stored) for one in found], pa.bool_())
    for name in _SEEN:
        seen = _array([one.columns[name] if isinstance(one, Stored) else None for one in found], name)
        rows = _set(rows, came, name, pc.if_else(good, pc.coalesce(rows[name].filter(came), seen), _null(name)))
    reasons = _array([None if isinstance(one, Stored) else one for one in found], "error_message")
    rows = _set(rows, came, "error_message", pc.coalesce(reasons, rows["error_message"].filter(came)))
    return _set(rows, came, "status", pc.if_else(good, SUCCESS, REFUSED)), at.filter(good)


def _came(rows: pa.Table) -> pa.BooleanArray:
    return pc.fill_null(pc.equal(rows["status"], SUCCESS), False).combine_chunks()


def _set(rows: pa.Table, where: pa.BooleanArray, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    column = pc.replace_with_mask(rows[name].combine_chunks(), where, values)
    return rows.set_column(rows.column_names.index(name), IMAGES.field(name), column)


def _array(values: list[Any], name: str) -> pa.Array:
    return pa.array(values, IMAGES.field(name).type)


def _null(name: str) -> pa.Scalar:
    return pa.scalar(None, IMAGES.field(name).type)
