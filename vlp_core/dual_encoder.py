"""A dual encoder of open_clip's: how it is built, called, and where its weights go and come from."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.errors import UserError
from vlp_core.model_folder import read_config, read_weights
from vlp_core.nn.batch_norm import over_all_ranks
from vlp_core.nn.ceiling import Ceiling
from vlp_core.nn.pixels import Normalise

MAX_LOG_SCALE = math.log(100)
SCALARS = ("logit_scale", "logit_bias")


class DualEncoder(nn.Module):
    """CLIP (Radford et al., 2021, arXiv:2103.00020) with open_clip's towers under `clip`.

    `config` is {"model_cfg": …, "preprocess_cfg": …} as open_clip writes it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = deepcopy(dict(config))
        self.clip = _build(config["model_cfg"])
        preprocess = config["preprocess_cfg"]
        self.normalise = Normalise(preprocess["mean"], preprocess["std"])

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised float pixels [B, 3, H, W] -> unit vectors [B, D]."""
        # Through the module's call, not its methods: ZeRO-3 brings a module's parameters when it is called.
        return cast(Tensor, self.clip(image=pixels)["image_features"])

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids int64 [B, L] -> unit vectors [B, D]."""
        return cast(Tensor, self.clip(text=tokens)["text_features"])

    def scale(self) -> Tensor:
        """The factor of similarities [1]: at most 100 before a softmax (section 2.5 of the paper), and without a bound
        before a sigmoid, where there is a bias."""
        logarithm = cast(Tensor, self.clip.logit_scale)
        if self.clip.logit_bias is None:
            logarithm = cast(Tensor, Ceiling.apply(logarithm, MAX_LOG_SCALE))
        return logarithm.exp()

    def clip_state_dict(self) -> dict[str, Tensor]:
        """The state dict of open_clip's model, on the CPU in fp32."""
        return export_weights(self.clip.state_dict())

    def load_weights(self, weights: Mapping[str, Tensor], *, origin: str) -> None:
        """Take weights under open_clip's names; `origin` names them in the UserError for those that do not fit."""
        own = self.clip.state_dict()
        theirs = {name: weights[name].reshape(own[name].shape) if name in SCALARS and name in own else weights[name]
                  for name in weights}  # fmt: skip
        try:
            self.clip.load_state_dict(theirs, strict=True)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise UserError(
                f"{origin}: its weights do not fit this recipe's model ({first}); give the recipe it has"
            ) from error


class DualView:
    """One batch under a dual encoder: each tower is run once, however many objectives ask for it."""

    def __init__(self, model: DualEncoder, batch: Batch) -> None:
        self.model, self.batch = model, batch
        self._made: dict[str, Tensor] = {}

    def image_vectors(self) -> Tensor:
        """Unit vectors [B, D] of the pictures."""
        model = self.model
        return self._once("image", lambda: model.encode_image(model.normalise(self.batch.pixels)))

    def text_vectors(self) -> Tensor:
        """Unit vectors [B, D] of the texts."""
        return self._once("text", lambda: self.model.encode_text(self.batch.tokens))

    def scale(self) -> Tensor:
        """The factor before the softmax [1]."""
        return self._once("scale", self.model.scale)

    def bias(self) -> Tensor:
        """What is added to similarities before the sigmoid [1]."""
        bias = self.model.clip.logit_bias
        assert bias is not None, "a model without a bias: it was made for a softmax"
        return cast(Tensor, bias)

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def _build(model_cfg: Mapping[str, Any]) -> nn.Module:
    arguments = deepcopy(dict(model_cfg))
    custom = arguments.pop("custom_text", False) or "hf_model_name" in arguments["text_cfg"]
    if custom and "hf_model_name" in arguments["text_cfg"]:
        arguments["text_cfg"]["hf_model_pretrained"] = False
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    # DeepSpeed 0.19 cannot hold parameters without a dimension.
    model = kind(**arguments, nonscalar_logit_scale=True, output_dict=True)
    return over_all_ranks(model)


def export_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp32 copies on the CPU, the scale without a dimension, as open_clip's own checkpoints have it."""
    weights = {name: value.detach().to("cpu", torch.float32, copy=True).contiguous() for name, value in state.items()}
    return {name: value.reshape(()) if name in SCALARS else value for name, value in weights.items()}


def load_dual_encoder(folder: Path) -> tuple[DualEncoder, dict[str, Any]]:
    """The model of a model folder, in evaluation mode, and its config; UserError where it holds no dual encoder."""
    config = read_config(folder)
    if "open_clip" not in config:
        raise UserError(f"{folder}: holds a {config['recipe'].get('name')}, which is no model of open_clip's")
    model = DualEncoder(config["open_clip"])
    model.load_weights(read_weights(folder), origin=str(folder))
    return model.eval(), config
