"""A tar by itself: its members say what its pictures are, or the pictures do."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from jobs.adopted_picture import REFUSED, examine
from vlp_core.data import store
from vlp_core.data.foreign import CAPTION_COLUMN, as_images
from vlp_core.data.layout import IMAGES, SUCCESS
from vlp_core.data.parts import Part
from vlp_core.data.webdataset import Sample, samples
from vlp_core.web.sniff import kind_of

_AHEAD, _FAR_AHEAD = 2**20, 2**23  # bytes that are read at once of a tar on a disk, and of a remote one
_TEXTS = ("url", "uid", "label", "group")
_SIDES = ("width", "height", "original_width", "original_height")


def rows_of_tar(
    part: Part, caption_names: Sequence[str], *, caption_column: str | None = None, decode: bool = False
) -> tuple[pa.Table, pa.Table]:
    """IMAGES of a tar, with `label` and `group` where members say them; offset and length of those that succeeded.

    A picture is decoded and hashed unless its JSON says what img2dataset's does; with `decode`, each is decoded. Raises
    TarError and OSError.
    """
    rows: list[dict[str, Any]] = []
    offsets, lengths = [], []
    named = False
    with store.reading(part.pictures) as read:
        for sample in samples(read, part.size, ahead=_FAR_AHEAD if store.is_url(part.pictures) else _AHEAD):
            texts = _named_captions(sample, caption_column)
            named |= texts is not None
            rows.append(_row(sample, _captions(sample, caption_names) if texts is None else texts, decode))
            if rows[-1]["status"] == SUCCESS:
                offsets.append(sample.offset)
                lengths.append(len(sample.picture or b""))
    kinds = [column for column in IMAGES if column.name not in ("caption", "source", "error_message")]
    schema = pa.schema([*kinds, ("error_message", pa.string()), ("label", pa.string()), ("group", pa.string())])
    table = pa.Table.from_pylist(rows, schema=schema)
    table = table.drop_columns([name for name in ("label", "group") if table[name].null_count == len(table)])
    places = pa.table({"offset": pa.array(offsets, pa.int64()), "length": pa.array(lengths, pa.int64())})
    images = as_images(table, name=part.name)
    return images.replace_schema_metadata({CAPTION_COLUMN: caption_column}) if named else images, places


def _row(sample: Sample, captions: list[str], decode: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"key": sample.key, "captions": captions}
    row |= {name: _text(sample.said.get(name)) for name in _TEXTS}
    row["label"] = sample.label or row["label"]
    if sample.picture is None:
        return row | {"status": REFUSED, "error_message": "no picture in the tar"}
    known = _known(sample.said)
    if known and not decode:
        lies = {"bytes": len(sample.picture), "format": kind_of(sample.picture)}
        return row | lies | known
    found = examine(sample.picture)
    if isinstance(found, str):
        return row | {"status": REFUSED, "error_message": found}
    return row | found.columns | known


def _known(said: Mapping[str, Any]) -> dict[str, Any]:
    """What img2dataset wrote of a picture, which it decodes, and hashes as it came; nothing where another did."""
    sides = {name: said.get(name) for name in _SIDES}
    numbers = all(isinstance(side, int) and 0 < side < 2**31 for side in sides.values())
    sha256 = _text(said.get("sha256")) or ""
    is_one = numbers and said.get("status") == SUCCESS and len(sha256) == 64
    return {"status": SUCCESS, "sha256": sha256, **sides} if is_one else {}


def _named_captions(sample: Sample, column: str | None) -> list[str] | None:
    """What the member of that extension or the JSON's field says; None where a sample has neither."""
    if column in sample.texts:
        return [sample.texts[column]]
    return _texts(sample.said[column]) if column in sample.said else None


def _captions(sample: Sample, names: Sequence[str]) -> list[str]:
    said: Any = next((sample.said[name] for name in ("captions", *names) if sample.said.get(name)), [])
    return list(dict.fromkeys([*sample.texts.values(), *_texts(said)]))


def _texts(said: Any) -> list[str]:
    found = (_text(text) for text in (said if isinstance(said, list) else [said]) if isinstance(text, str))
    return [text for text in found if text is not None]


def _text(value: Any) -> str | None:
    """JSON's escapes may say halves of characters, which are no text."""
    return str(value).encode("utf-8", "replace").decode() if isinstance(value, str | int) else None
