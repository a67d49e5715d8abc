"""What scores by a model, and semantic deduplication by its vectors, can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlp_core.errors import UserError
from vlp_core.settings import by_content, execution, path_or_name


@dataclass(frozen=True, kw_only=True)
class Score:
    """How pictures and captions are scored by a model that compares them: the columns of 'clip' and of the prompts."""

    model: str | None = path_or_name()
    """An open_clip checkpoint as ARCH:FILE, an export folder, a model folder, or models:/NAME@ALIAS (or /VERSION) of
    the registry; none: nothing is scored."""
    prompts: Path | None = None
    """JSON of {"unsafe": {"yes": [...], "no": [...]}}, and `watermark` and `quality` alike; those that are not in it
    are asked for as they come."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: by autocast, faster on GPUs; scores differ by its rounding."""
    batch_size: int = execution(128)
    """Pictures or captions encoded at once."""
    workers: int | None = execution(None)
    """Processes that hold the model; none: one a GPU, or one a CPU where there is no GPU."""
    gpu: bool | None = execution(None)
    """A GPU for each of them; none: where there are some."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--score.{name.replace('_', '-')} {value}: give 1 or more")


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A model that compares pictures and texts, as an input of a step: what it is counts, not where it lies."""

    place: str = execution("")
    """What loads it: a folder, or ARCH:FILE."""
    description: str
    """The digest of its architecture, of what it does to pictures, and of its tokenizer."""
    weights: tuple[Path, ...] = by_content()


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Pictures that show the same by a model's vectors (SemDeDup, Abbas et al., 2023, arXiv:2303.09540)."""

    epsilon: float | None = None
    """Of pictures of one cluster whose cosine is over 1 - epsilon one stays; none: no such deduplication."""
    cluster: int = 1000
    """Pictures that a cluster of k-means has in the mean."""
    seed: int = 0
    """Seed of the clusters."""

    def __post_init__(self) -> None:
        if self.epsilon is not None and not 0 < self.epsilon < 1:
            raise UserError(f"--semantic.epsilon {self.epsilon:g}: give a number over 0 and below 1, such as 0.05")
        if self.cluster < 10:
            raise UserError(f"--semantic.cluster {self.cluster}: give 10 pictures or more")
