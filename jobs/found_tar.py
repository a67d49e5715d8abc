"""A tar by itself: its members say what its pictures are, or the pictures do."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from jobs.adopted_picture import REFUSED, Stored, examine
from vlp_core.data import store
from vlp_core.data.foreign import as_images
from vlp_core.data.layout import IMAGES, SUCCESS
from vlp_core.data.parts import Part
from vlp_core.data.webdataset import Sample, samples

_AHEAD, _FAR_AHEAD = 2**20, 2**23  # bytes that are read at once of a tar on a disk, and of a remote one
_TEXTS = ("url", "uid", "label", "group")
_SIDES = ("width", "height", "original_width", "original_height")


def rows_of_tar(part: Part, caption_names: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """IMAGES of a tar, with `label` and `group` where members say them; offset and length of those that succeeded.

    A picture is read, decoded and hashed unless its JSON says what img2dataset's does. Raises TarError and OSError.
    """
    rows: list[dict[str, Any]] = []
    offsets, lengths = [], []
    with store.reading(part.pictures) as read:
        for sample in samples(read, part.size, ahead=_FAR_AHEAD if store.is_url(part.pictures) else _AHEAD):
            rows.append(_row(sample, caption_names))
            if rows[-1]["status"] == SUCCESS:
                offsets.append(sample.offset)
                lengths.append(len(sample.picture or b""))
    kinds = [column for column in IMAGES if column.name not in ("caption", "source", "error_message")]
    schema = pa.schema([*kinds, ("error_message", pa.string()), ("label", pa.string()), ("group", pa.string())])
    table = pa.Table.from_pylist(rows, schema=schema)
    table = table.drop_columns([name for name in ("label", "group") if table[name].null_count == len(table)])
    places = pa.table({"offset": pa.array(offsets, pa.int64()), "length": pa.array(lengths, pa.int64())})
    return as_images(table, name=part.name), places


def _row(sample: Sample, caption_names: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"key": sample.key, "captions": _captions(sample, caption_names)}
    row |= {name: _text(sample.said.get(name)) for name in _TEXTS}
    row["label"] = sample.label or row["label"]
    if sample.picture is None:
        return row | {"status": REFUSED, "error_message": "no picture in the tar"}
    if _is_known(sample.said):
        sides = {name: sample.said.get(name) for name in _SIDES}
        return row | sides | {"status": SUCCESS, "sha256": sample.said["sha256"]}
    found = examine(sample.picture)
    return row | (found.columns if isinstance(found, Stored) else {"status": REFUSED, "error_message": found})


def _is_known(said: Mapping[str, Any]) -> bool:
    """Whether img2dataset wrote it, which decodes each picture and hashes it as it came."""
    numbers = all(isinstance(said.get(name), int) for name in _SIDES)
    return numbers and said.get("status") == SUCCESS and len(_text(said.get("sha256")) or "") == 64


def _captions(sample: Sample, names: Sequence[str]) -> list[str]:
    said: Any = next((sample.said[name] for name in ("captions", *names) if sample.said.get(name)), [])
    texts = said if isinstance(said, list) else [said]
    return list(dict.fromkeys([*sample.texts, *(text for text in texts if isinstance(text, str))]))


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) else None
