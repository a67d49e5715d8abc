"""Evaluation sets out of images folders: pictures by identity, with their captions or their labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlp_core.data.index import Reader
from vlp_core.data.layout import shard_names
from vlp_core.data.stored import index_shard, read_rows
from vlp_core.errors import UserError, nearest
from vlp_core.evals.classes import Classes
from vlp_core.identity import digest_of


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a picture's encoded bytes lie."""

    file: Path
    offset: int
    length: int


class Pictures:
    """Encoded pictures that are read when asked for."""

    def __init__(self, places: list[Place]) -> None:
        self._places = places
        self._reader = Reader()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> bytes:
        place = self._places[number]
        return self._reader.read(place.file, place.offset, place.length)

    def first(self, count: int) -> "Pictures":
        return Pictures(self._places[:count])

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalSet:
    """Pictures and texts, each once, in the order of their identities; `pairs` int64 [P, 2] says (text, picture)."""

    pictures: Pictures
    identities: list[str]
    texts: list[str]
    pairs: Tensor

    @cached_property
    def first_texts(self) -> list[int]:
        """The number of each picture's first text."""
        first: dict[int, int] = {}
        for text, picture in self.pairs.tolist():
            first.setdefault(picture, text)
        return [first[picture] for picture in range(len(self.pictures))]

    @cached_property
    def digest(self) -> str:
        """Of the identities and the captions alone, whatever urls and shards they came in."""
        return digest_of([self.identities, self.texts, self.pairs.tolist()])


@dataclass(frozen=True, kw_only=True, eq=False)
class ZeroShotSet:
    """Pictures with the numbers of their classes, int64 [N], and their groups (None: in no group)."""

    pictures: Pictures
    identities: list[str]
    labels: Tensor
    groups: list[str | None]
    classes: Classes

    @cached_property
    def digest(self) -> str:
        """Of the identities, labels, groups, class names and templates."""
        names, templates = list(self.classes.names), list(self.classes.templates)
        return digest_of([self.identities, self.labels.tolist(), self.groups, names, templates])


def read_retrieval(folder: Path) -> RetrievalSet:
    """The pictures of an images folder that have captions.

    Raises:
        UserError: there are none.
    """
    places: dict[str, Place] = {}
    captions: set[tuple[str, str]] = set()
    for row, place in _rows(folder, ()):
        if row["captions"]:
            places.setdefault(row["sha256"], place)
            captions |= {(caption, row["sha256"]) for caption in row["captions"]}
    if not places:
        raise UserError(f"{folder}: no picture with a caption to evaluate retrieval on; see why its downloads failed")
    identities, texts = sorted(places), sorted({caption for caption, _ in captions})
    picture = {identity: number for number, identity in enumerate(identities)}
    text = {caption: number for number, caption in enumerate(texts)}
    return RetrievalSet(
        pictures=Pictures([places[identity] for identity in identities]),
        identities=identities,
        texts=texts,
        pairs=torch.tensor(sorted((text[caption], picture[identity]) for caption, identity in captions)),
    )


def read_zero_shot(folder: Path, classes: Classes) -> ZeroShotSet:
    """The pictures of an images folder with the columns `label` and, where it has one, `group`.

    A picture that came twice with one label counts once.

    Raises:
        UserError: there are none, no such column, or a label that is no class.
    """
    places: dict[tuple[str, str, str], Place] = {}
    for row, place in _rows(folder, ("label", "group")):
        if row["label"] not in classes.names:
            hint = nearest(str(row["label"]), classes.names)
            raise UserError(f"{folder}: label {row['label']!r} (of {row['url']}) is not among the classes{hint}")
        places.setdefault((row["sha256"], row["label"], row.get("group") or ""), place)
    if not places:
        raise UserError(f"{folder}: no picture to evaluate zero-shot classification on; see why its downloads failed")
    keys = sorted(places)
    numbers = {name: number for number, name in enumerate(classes.names)}
    return ZeroShotSet(
        pictures=Pictures([places[key] for key in keys]),
        identities=[identity for identity, _, _ in keys],
        labels=torch.tensor([numbers[label] for _, label, _ in keys]),
        groups=[group or None for _, _, group in keys],
        classes=classes,
    )


def _rows(folder: Path, columns: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], Place]]:
    """The pictures that are there: their INDEX with `url` and those of `columns` that the list had."""
    names = shard_names(folder)
    if not names:
        raise UserError(f"{folder}: no shards (00000.parquet, …) in this folder; give the output folder of download")
    for name in names:
        rows = read_rows(folder, name)
        if "label" in columns and "label" not in rows.column_names:
            raise UserError(
                f"{folder}: no column 'label' (there are {', '.join(rows.column_names)}); name one in the list"
            )
        extra = rows.select(["uid", "url", *(column for column in columns if column in rows.column_names)])
        known = {row["uid"]: row for row in extra.to_pylist()}
        file, index = index_shard(folder, name)
        for row in index.to_pylist():
            yield row | known[row["uid"]], Place(file=file, offset=row["offset"], length=row["length"])
