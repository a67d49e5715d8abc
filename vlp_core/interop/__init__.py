"""Weights of other libraries' models under this library's names."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from vlp_core.errors import UserError, nearest
from vlp_core.interop import bert, blip, clip, vilt, vit, vit_mae
from vlp_core.interop.names import State
from vlp_core.interop.trained import Config, Picture, Text, Whole

PICTURES: dict[str, Callable[[State, Config], Picture]] = {
    "blip": blip.tower,
    "blip_vision_model": blip.tower,
    "clip": clip.tower,
    "clip_vision_model": clip.tower,
    "deit": vit.distilled,
    "vit": vit.tower,
    "vit_mae": vit_mae.tower,
}
TEXTS: dict[str, Callable[[State, Config], Text]] = {"bert": bert.tower}
WHOLES: dict[str, Callable[[State, Config], Whole]] = {"blip": blip.whole, "clip": clip.whole, "vilt": vilt.whole}
"""transformers' kinds of models (`model_type`), and who knows their weights: as an encoder, or as a system."""

_OF_A_RECIPE: dict[str, Callable[[State, Config], State]] = {"bert": bert.weights, "vit_mae": vit_mae.weights}


def from_transformers(model: nn.Module) -> dict[str, Tensor]:
    """What a BERT (as METER's), BLIP, CLIP, ViLT or ViTMAE (as VLC's) of transformers' has of the weights of
    `System.finished`, for a system that has its sizes.

    Parts that it lacks, such as the decoder of a model for retrieval, are missing from it; UserError for a model of a
    kind that is not known.
    """
    config: Any = getattr(model, "config", None)
    kind = config.model_type if config is not None else type(model).__name__
    state: State = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if kind in WHOLES:
        return WHOLES[kind](state, config.to_dict()).state
    if kind in _OF_A_RECIPE:
        return _OF_A_RECIPE[kind](state, config.to_dict())
    raise UserError(f"{kind}: its weights cannot be read{nearest(kind, [*WHOLES, *_OF_A_RECIPE])}")
