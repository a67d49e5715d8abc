"""Weights of other libraries' models under this library's names."""

from importlib import import_module

from torch import Tensor, nn

from vlp_core.errors import UserError, nearest

FROM_TRANSFORMERS = {
    "BertModel": "vlp_core.interop.bert",
    "BlipForConditionalGeneration": "vlp_core.interop.blip",
    "BlipForImageTextRetrieval": "vlp_core.interop.blip",
    "ViTMAEForPreTraining": "vlp_core.interop.vit_mae",
    "ViltForImageAndTextRetrieval": "vlp_core.interop.vilt",
    "ViltForMaskedLM": "vlp_core.interop.vilt",
    "ViltModel": "vlp_core.interop.vilt",
}
"""Classes of transformers', and the module whose `from_transformers` knows their weights."""


def from_transformers(model: nn.Module) -> dict[str, Tensor]:
    """What the model has of the weights of `System.finished`, for a system that has its sizes.

    Parts that it lacks, such as the decoder of a model for retrieval, are missing from it; UserError for a model of a
    class that is not known.
    """
    name = type(model).__name__
    if name not in FROM_TRANSFORMERS:
        raise UserError(f"{name}: its weights cannot be read{nearest(name, FROM_TRANSFORMERS)}")
    weights: dict[str, Tensor] = import_module(FROM_TRANSFORMERS[name]).from_transformers(model)
    return weights
