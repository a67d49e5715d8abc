"""Settings of evaluation and registration; free of torch, so that a plan can read them."""

import re
from dataclasses import dataclass
from typing import Literal

from vlp_core.errors import UserError
from vlp_core.settings import execution


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """How a model is scored."""

    queries: int = 6
    """Rows of the picture that shows text queries with what they found."""
    candidates: int = 16
    """Pictures a text, and texts a picture, that a fusion ranks again after the dual encoder."""
    matrix: int = 60
    """Pictures whose every pair with a text is scored, where no dual encoder brings a fusion its candidates: its
    retrieval_first/… scores."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: by autocast, faster on GPUs; scores differ by its rounding."""
    batch_size: int = execution(128)
    """Pictures or texts encoded at once."""
    device: str = execution("auto")
    """Where the model runs: auto, cpu, cuda, cuda:1, ..."""
    threads: int = execution(0)
    """Threads that decode and encode; 0: one for each core this process may use."""

    def __post_init__(self) -> None:
        for name, least in (
            ("queries", 1),
            ("candidates", 1),
            ("matrix", 10),
            ("batch_size", 1),
            ("threads", 0),
        ):
            if getattr(self, name) < least:
                raise UserError(f"--evaluate.{name.replace('_', '-')} {getattr(self, name)}: give {least} or more")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise UserError(f"--evaluate.device {self.device}: give auto, cpu, cuda or cuda:1")


@dataclass(frozen=True, kw_only=True)
class Register:
    """Under which name a model is registered, and what makes it the champion."""

    name: str = "clip"
    """The model's name in the registry."""
    metric: str | None = None
    """The score, higher is better, that a champion must win by; none given: zero_shot/top1 where there is one, else
    retrieval/text_to_image_r@10 (or retrieval_first/…), else captions/cider."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.\-]+( [\w.\-]+)*", self.name):
            raise UserError(
                f"--register.name {self.name!r}: use letters, digits, '-', '_', '.' and single spaces, such as 'clip'"
            )
