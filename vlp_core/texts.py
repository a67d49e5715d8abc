"""Further columns of lists hold what their makers put there: what of it is text."""

import pyarrow as pa


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text: bytes that are no UTF-8 as hex digits, numbers as they are written; null what is neither."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        texts = [None if value is None else _decoded(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # lists, structs
        return pa.chunked_array([pa.nulls(len(column), pa.string())])


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
