"""How a system is trained."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlp_core.errors import UserError, nearest
from vlp_core.settings import HUB, execution, extends, named_path, path_or_name

PARTS = ("image", "text")


@dataclass(frozen=True, kw_only=True)
class Train:
    """Optimiser, schedule and precision; and how the work is spread and saved."""

    steps: int = extends(600)
    """Steps of the optimiser. Raised later, it carries a finished run on."""
    batch_size: int = 128
    """Pairs a step, over all workers together and in memory at once: gradients are not accumulated, which would leave
    contrastive losses fewer negatives."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD whose momentum is --train.beta1."""
    lr: float = 1e-3
    """Peak learning rate."""
    lr_scale: tuple[str, ...] = ()
    """Parts of the system that have another rate, as PART=FACTOR (model.fusion=5); the last that fits counts."""
    warmup: int = 50
    """Steps of linear warm-up."""
    lr_decay: Literal["cosine", "linear"] = "cosine"
    """How the rate falls from then on to the last step: by half a cosine, or in a line."""
    lr_end: float = 0.0
    """What it falls to."""
    weight_decay: float = 0.1
    """Weight decay of matrices; biases, norms and the scale have none. AdamW's is decoupled, SGD's is added to the
    gradient."""
    beta1: float = 0.9
    """Decay of AdamW's mean."""
    beta2: float = 0.98
    """Decay of AdamW's variance."""
    eps: float = 1e-6
    """AdamW's epsilon."""
    clip_norm: float | None = 1.0
    """Longest gradient (global L2 norm); none does not clip."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast on GPUs that have it, fp32 otherwise; a run that goes on elsewhere keeps what it began with.
    Weights are fp32 in both, but torch computes the convolutions of fp32 in TF32 on GPUs that have it."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO: 1 shards the optimiser's state over the workers, 2 gradients too, 3 parameters too."""
    deepspeed: Path | None = None
    """JSON file of DeepSpeed's, laid over the configuration that is built."""
    start: tuple[str, ...] = path_or_name(())
    """Weights to start from. Of the whole system: a model folder, a folder with checkpoints, a folder of Hugging Face's
    (a CLIP, a ViLT, a BLIP), or open_clip's as ARCHITECTURE:FILE. Of parts, image=SOURCE and text=SOURCE: a folder of
    Hugging Face's (a ViT, a CLIP, an MAE; a BERT), for image also ARCHITECTURE:FILE, the model folder of a CLIP,
    timm:NAME:FILE, or timm:NAME, which is downloaded."""
    seed: int = 0
    """Seed of the first weights, the order of samples, their augmentation and what of them is hidden; and of dropout,
    which each worker draws for itself: with dropout, another number of workers is another run."""
    log_every: int = 10
    """Steps between two points of the curve; a point is the mean since the one before."""
    workers: int = execution(1)
    """Processes that train, one a GPU where there are some."""
    gpu: bool | None = execution(None)
    """Train on GPUs; none: where there are some."""
    threads: int = execution(0)
    """CPU threads of each worker's arithmetic; 0: the machine's cores, divided among its workers."""
    checkpoint_every: int = execution(200)
    """Steps between two checkpoints; the last step always has one."""
    keep: int = execution(2)
    """Checkpoints that are kept."""
    restarts: int = execution(3)
    """How often lost workers are replaced, counted anew at every checkpoint, before the step fails."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "workers", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"{_flag(name)} {getattr(self, name)}: give 1 or more")
        for scaled in self.lr_scale:
            scale_of(scaled)
        for name in ("lr", "lr_end", "warmup", "weight_decay", "threads", "restarts"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{_flag(name)} {getattr(self, name)}: give 0 or more")
        if self.lr_end > self.lr:
            raise UserError(f"--train.lr-end {self.lr_end}: give at most --train.lr, which is {self.lr}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UserError(f"{_flag('clip_norm')} {self.clip_norm}: give a length above 0, or none")
        if self.batch_size % self.workers:
            raise UserError(
                f"{_flag('batch_size')} {self.batch_size} cannot be divided among {self.workers} workers; "
                f"give a multiple of {self.workers}"
            )


def scale_of(scaled: str) -> tuple[str, float]:
    """PART=FACTOR as its two halves."""
    part, _, factor = scaled.partition("=")
    try:
        value = float(factor)
    except ValueError:
        value = -1.0
    if not part or not 0 <= value < math.inf:
        raise UserError(
            f"--train.lr-scale {scaled}: give PART=FACTOR with a factor of 0 or more, such as model.fusion=5"
        )
    return part, value


def sources_of(start: tuple[str, ...]) -> dict[str | None, str]:
    """The source of each part, or the one of the whole system, under None; UserError for one that is not there."""
    found: dict[str | None, str] = {}
    for word in start:
        part, source = _part_of(word)
        if part in found:
            raise UserError(
                f"{_flag('start')} {word}: {part or 'the whole system'} has a source already; leave out one"
            )
        if named_path(word)[1] is None and not (part and source.startswith(HUB) and source.count(":") == 1):
            raise UserError(
                f"{_flag('start')} {word}: no such file or folder; give a model folder, a folder with checkpoints, "
                "one of Hugging Face's or ARCHITECTURE:FILE"
            )
        found[part] = source
    if None in found and len(found) > 1:
        raise UserError(
            f"{_flag('start')} {' '.join(start)}: give one source for the whole system, or PART=SOURCE each"
        )
    return found


def _part_of(word: str) -> tuple[str | None, str]:
    """PART=SOURCE as its two halves; a path may have an equals sign of its own."""
    part, equals, source = word.partition("=")
    if not equals or Path(word).exists() or "/" in part:
        return None, word
    if part not in PARTS:
        raise UserError(f"{_flag('start')} {word}: no such part{nearest(part, PARTS)}")
    return part, source


def _flag(name: str) -> str:
    return f"--train.{name.replace('_', '-')}"
