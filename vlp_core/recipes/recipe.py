"""What a recipe is: a system with its sizes, and how it is trained."""

from dataclasses import dataclass, field
from typing import Any

from vlp_core.curation.settings import CapFilt
from vlp_core.data.settings import Data
from vlp_core.needs import Needs
from vlp_core.train.settings import Train

__all__ = ["WHOLE", "CapFilt", "Needs", "Recipe", "tiny"]


WHOLE = Data(crop_scale=(1.0, 1.0))
"""Pictures as evaluation sees them: the shorter side resized, and the square in the middle."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A system as a value (`vlp_core.sizes.SystemSizes`), with the settings it is trained by."""

    system: Any
    train: Train
    data: Data = field(default_factory=Data)
    capfilt: CapFilt | None = None
    """How its captions are bootstrapped; none: it is trained on those of the web."""
    starts: tuple[str, ...] = ()
    """Parts ("image", "text") that its paper begins with trained weights for, as its rates and steps suppose."""


def tiny(system: Any, *, steps: int, batch_size: int = 48, lr: float = 2e-3, **more: Any) -> Recipe:
    """A recipe that two cores learn the embedded corpus by in minutes: a small model takes many steps, small batches
    and a high rate."""
    return Recipe(system=system, train=Train(steps=steps, batch_size=batch_size, lr=lr, warmup=100), **more)
