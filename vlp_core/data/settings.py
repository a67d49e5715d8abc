"""How training reads its data, and how it is rewritten before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlp_core.errors import UserError
from vlp_core.settings import execution, path_or_name


@dataclass(frozen=True, kw_only=True)
class Data:
    """How samples are ordered and augmented in training."""

    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Share of a picture's area that a random crop keeps, from and to; 1 1: pictures come as evaluation sees them."""
    flip: float = 0.0
    """Probability of mirroring a picture."""
    block: int = 64
    """Neighbouring samples that stay together in the shuffle, so that remote stores read in runs."""
    window: int = 64
    """Blocks whose samples are shuffled among one another."""
    threads: int = execution(2)
    """Threads that read and decode, in each worker."""
    prefetch: int = execution(2)
    """Batches made ahead of the step."""
    keep_mb: int = execution(1024)
    """Memory for decoded pictures in each worker, in MB: those that fit are decoded once, not in every epoch."""

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise UserError(f"--data.crop-scale {low} {high}: give two shares of the area, 0 < from <= to <= 1")
        if not 0 <= self.flip <= 1:
            raise UserError(f"--data.flip {self.flip}: give a probability from 0 to 1")
        for name in ("block", "window", "threads", "prefetch"):
            if getattr(self, name) < 1:
                raise UserError(f"--data.{name} {getattr(self, name)}: give 1 or more")
        if self.keep_mb < 0:
            raise UserError(f"--data.keep-mb {self.keep_mb}: give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """How data that is there already becomes a data set: no picture of it is copied."""

    file_column: str | None = None
    """Column of a caption table that names each picture's file; recognised (file_name, image, …) where not given and
    where the table has no url column."""
    pictures: Path | None = execution(None)
    """The folder that those names start from; without it the one in which the table lies."""
    skip_damaged: bool = False
    """Leave out shards that cannot be read, with a warning for each, where else the first of them ends the run."""
    decode: bool = False
    """Decode each picture once, so that one that cannot be is a failed row; else it ends the run where it is first
    looked at. What img2dataset wrote without encoding it anew may hold some."""
    follow: bool = execution(False)
    """Read what a folder that another root's run adopted says of where its pictures lie, be it any file or address:
    only where you trust whoever wrote it."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """The word pieces of recipes that read those."""

    pieces: int = 10_000
    """How many there are at most; a small corpus gives fewer."""
    start: str | None = path_or_name(None)
    """Word pieces that exist, taken instead: a folder that has tokenizer.json or vocab.txt (a BERT's), such a file, or
    the name of a model, whose are fetched from the hub."""

    def __post_init__(self) -> None:
        if self.pieces < 100:
            raise UserError(f"--words.pieces {self.pieces}: give 100 or more")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """When and how a selection is rewritten into shards of its own."""

    format: Literal["auto", "none", "webdataset", "parquet"] = "auto"
    """auto rewrites a sparse selection as webdataset; none never rewrites."""
    size: int = 10_000
    """Samples a shard at most; shards differ by one sample at most."""
    sparse_below: float = 0.5
    """auto rewrites where less than this share of the stored pictures is selected."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"--shard.size {self.size}: give 1 or more samples")
        if not 0 <= self.sparse_below <= 1:
            raise UserError(f"--shard.sparse-below {self.sparse_below}: give a share from 0 to 1")
