"""What ingest, filter, dedup, select and the bootstrapping of captions can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlp_core.curation.hashes import NEAR_BITS
from vlp_core.curation.language import FASTTEXT
from vlp_core.curation.rules import parse_rules
from vlp_core.errors import UserError
from vlp_core.settings import elsewhere, execution

BALANCE_T = 20_000  # MetaCLIP's for 400 million pairs


EVERY_PAIR = "captions>=1"
"""A rule that takes nothing: a pair without a caption is never judged."""


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """How lists of (url, caption) become shards of pairs."""

    seed: int = 0
    """Seed of the order of all pairs."""
    shard_size: int = 1000
    """Pairs a shard, 1 to 10,000."""
    url_column: str | None = None
    """Name of the column that holds the urls; recognised (url, URL, …) where not given."""
    caption_column: str | None = None
    """Name of the column that holds the captions; recognised (caption, TEXT, …) where not given."""
    needs_caption: bool = True
    """Leave out urls that have no caption; off for lists of labelled pictures, which need no caption column."""

    def __post_init__(self) -> None:
        if not 1 <= self.shard_size <= 10_000:
            raise UserError(f"shard size {self.shard_size}: choose 1 to 10,000 pairs a shard")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which pictures and captions are good enough."""

    rules: tuple[str, ...] = ("datacomp_basic",)
    """Names of sets of rules (datacomp_basic, laion400m, laion5b, laion5b_multilingual, coyo, cc12m, cc3m, align), or
    rules such as 'side>=200', 'ratio<=3', 'words>2', 'language=en', 'shared<=10', 'filename=no', 'clip>=0.28',
    'clip>=top30%'; a picture must pass all, and keeps the captions that do."""
    as_listed: bool = True
    """Leave out pictures that are others than their list says by a column `sha256`, and do not have nearly the `phash`
    of the list: the domain may have changed hands. Releases have looked at that themselves."""
    detector: str = FASTTEXT
    """What tells a caption's language: a function from a list of texts to a list of codes, as 'module:function'."""

    def __post_init__(self) -> None:
        if not self.rules:
            raise UserError(f"--filter.rules without a rule: give some, or '{EVERY_PAIR}', which every pair passes")
        parse_rules(self.rules)  # a rule that is none is told before anything is fetched


@dataclass(frozen=True, kw_only=True)
class Near:
    """When two pictures are copies of one another: hash and colours agree, or one laid over the other does."""

    bits: int = NEAR_BITS
    """Most bits in which their perceptual hashes may differ, 0 to 31."""
    colour: float = 8.0
    """Largest mean absolute difference of their colour signatures, in steps of 0 to 255."""
    alike: float = 0.95
    """Least correlation of their thumbnails, one laid over the other, mirrored or not, but for the quarter that agrees
    worst; finds what is cropped, flipped or written over. 1: hash and colours alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.bits < 32:
            raise UserError(
                f"bits {self.bits}: choose 0 to 31 of the hash's 64 bits (4 finds recompressed and resized copies)"
            )
        if self.colour < 0:
            raise UserError(f"colour {self.colour}: a distance is not negative (8 keeps distinct pictures apart)")
        if not 0.9 <= self.alike <= 1:
            raise UserError(
                f"alike {self.alike}: choose a correlation of 0.9 to 1 (0.95 finds crops; 1 looks no further)"
            )


@dataclass(frozen=True, kw_only=True)
class Dedup:
    """Which pictures are copies."""

    near: Near = Near()
    against: tuple[Path, ...] = elsewhere(())
    """Other data sets, whose pictures go, and what is near to them: folders of hashes, or roots of earlier releases."""


@dataclass(frozen=True, kw_only=True)
class Select:
    """Which pictures make the data set."""

    decontaminate: bool = True
    """Take out the pictures of the evaluation sets, and what is near to them."""
    near: Near = Near()
    balance: Path | None = None
    """Balance what is left over the entries of this file, one a line, or a JSON list (MetaCLIP)."""
    balance_t: int = BALANCE_T
    """An entry that more pairs match keeps each with probability t / matches, one that fewer match keeps all."""
    at_most: int | None = None
    """Keep the first so many in a seeded order; all where not given."""
    seed: int = 0
    """Seed of that order, and of what balancing draws."""

    def __post_init__(self) -> None:
        if self.balance_t < 1:
            raise UserError(f"--select.balance-t {self.balance_t}: give 1 pair or more")
        if self.balance is None and self.balance_t != BALANCE_T:
            raise UserError("--select.balance-t is for balancing: give --select.balance ENTRIES.txt too")
        if self.at_most is not None and self.at_most < 1:
            raise UserError(f"at most {self.at_most} pictures: choose 1 or more, or leave it out to keep all")


@dataclass(frozen=True, kw_only=True)
class Captions:
    """How captions are written for pictures: by nucleus sampling."""

    p: float = 0.9
    """Mass of the nucleus that words are drawn from."""
    longest: int | None = None
    """Tokens of the longest caption that is written, its start and end among them; none: as the recipe has it."""
    seed: int = 0
    """Seed of what is drawn; each picture's draws are its own."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: by autocast, faster on GPUs; draws and probabilities differ by its rounding."""
    batch_size: int = execution(64)
    """Pictures that are written for at once."""
    workers: int | None = execution(None)
    """Shards at work at once; none: as many as the cluster has room for."""
    gpu: bool | None = execution(None)
    """A GPU for each shard at work; none: where there are some."""

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise UserError(f"--capfilt.captions.p {self.p}: give a mass over 0 and up to 1")
        for name, least in (("longest", 3), ("batch_size", 1), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--capfilt.captions.{name.replace('_', '-')} {value}: give {least} or more")


@dataclass(frozen=True, kw_only=True)
class CapFilt:
    """Captions are bootstrapped (BLIP, arXiv:2201.12086, section 3.3): a first model writes one for each picture, of
    these and the web's own those stay that it finds to match, and the model itself starts fresh on what stays."""

    bootstrap: bool = True
    """Off: train on the web's captions alone."""
    steps: int
    """Steps of the first model. A number of its own: it would be another model, with other captions, wherever
    --train.steps carries the second one on."""
    captions: Captions = Captions()
    threshold: float = 0.5
    """Probability of a match below which a caption is dropped. Where two hard negatives are judged beside each match, a
    model that has learnt little says 1/3 of all."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"--capfilt.steps {self.steps}: give 1 or more")
        if not 0 <= self.threshold <= 1:
            raise UserError(f"--capfilt.threshold {self.threshold}: give a probability from 0 to 1")
