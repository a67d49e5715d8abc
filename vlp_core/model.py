"""A dual encoder of open_clip's: how it is built, called, kept in a folder and read back.

In a model folder lie `model.safetensors`, whose names and shapes are those of open_clip's own state dict in fp32, and
`config.json`, whose `open_clip` entry is the configuration that open_clip reads.
"""

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlp_core.errors import UserError, nearest
from vlp_core.files import replacing, write_text
from vlp_core.nn.batch_norm import over_all_ranks
from vlp_core.nn.ceiling import Ceiling

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
MAX_LOG_SCALE = math.log(100)
SCALARS = ("logit_scale", "logit_bias")


class DualEncoder(nn.Module):
    """CLIP (Radford et al., 2021, arXiv:2103.00020) with open_clip's towers under `clip`.

    `config` is {"model_cfg": …, "preprocess_cfg": …} as open_clip writes it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.clip = _build(config["model_cfg"])
        preprocess = config["preprocess_cfg"]
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(preprocess[name]).view(3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 pixels [B, 3, H, W] as the image tower wants them: float, less the mean, by the deviation."""
        return (pixels.float() / 255 - self.mean) / self.std

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised float pixels [B, 3, H, W] -> unit vectors [B, D]."""
        # Through the module's call, not its methods: ZeRO-3 brings a module's parameters when it is called.
        return cast(Tensor, self.clip(image=pixels)["image_features"])

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids int64 [B, L] -> unit vectors [B, D]."""
        return cast(Tensor, self.clip(text=tokens)["text_features"])

    def scale(self) -> Tensor:
        """The factor before the softmax [1], at most 100 (section 2.5 of the paper)."""
        return cast(Tensor, Ceiling.apply(self.clip.logit_scale, MAX_LOG_SCALE)).exp()

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


def _build(model_cfg: Mapping[str, Any]) -> nn.Module:
    arguments = deepcopy(dict(model_cfg))
    custom = arguments.pop("custom_text", False) or "hf_model_name" in arguments["text_cfg"]
    if "multimodal_cfg" in arguments:
        raise UserError(
            "CoCa needs a captioning objective, which this recipe lacks; name a dual encoder such as ViT-B-32"
        )
    if custom and "hf_model_name" in arguments["text_cfg"]:
        arguments["text_cfg"]["hf_model_pretrained"] = False
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    # DeepSpeed 0.19 cannot hold parameters without a dimension.
    model = kind(**arguments, nonscalar_logit_scale=True, output_dict=True)
    if model.logit_bias is not None:
        model.logit_bias.requires_grad_(False)  # a softmax does not see it
    return over_all_ranks(model)


def architecture(name: str) -> dict[str, Any]:
    """The model_cfg of one of open_clip's architectures; UserError with the nearest name where there is none."""
    config = open_clip.get_model_config(name)
    if config is None:
        raise UserError(f"open_clip has no architecture {name!r}{nearest(name, open_clip.list_models())}")
    return cast(dict[str, Any], config)


def published_preprocess(name: str) -> dict[str, Any]:
    """What open_clip's published weights of an architecture ask of pictures, as far as they agree on it.

    Keys of a preprocess_cfg: mean, std, interpolation, resize_mode. A file of weights does not say which it is of, and
    those that agree on another mean than OpenAI's (MobileCLIP, PE-Core) would be given pictures they do not know.
    """
    published = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    agreed = {}
    for key in ("mean", "std", "interpolation", "resize_mode"):
        values = {config[key] for config in published if key in config}
        if len(values) == 1:
            (value,) = values
            agreed[key] = list(value) if isinstance(value, tuple) else value
    return agreed


def export_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp32 copies on the CPU, the scale without a dimension, as open_clip's own checkpoints have it."""
    weights = {name: value.detach().to("cpu", torch.float32, copy=True).contiguous() for name, value in state.items()}
    return {name: value.reshape(()) if name in SCALARS else value for name, value in weights.items()}


def save_model(folder: Path, model: DualEncoder, config: Mapping[str, Any]) -> None:
    """Write a model folder; `config` holds at least {"open_clip": {"model_cfg": …, "preprocess_cfg": …}}."""
    save_weights(folder, model.clip_state_dict(), config)


def save_weights(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    with replacing(folder / WEIGHTS_FILE) as temporary:
        save_file(dict(weights), temporary, metadata={"format": "pt"})
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_model(folder: Path) -> tuple[DualEncoder, dict[str, Any]]:
    """The model of a model folder, in evaluation mode, and its config; UserError where the folder holds none."""
    config = read_config(folder)
    model = DualEncoder(config["open_clip"])
    model.load_weights(read_weights(folder), origin=str(folder))
    return model.eval(), config


def read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
        config["open_clip"]["model_cfg"], config["open_clip"]["preprocess_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: not a model folder ({CONFIG_FILE}: {error!r}); give the output folder of train"
        ) from error
    return cast(dict[str, Any], config)


def read_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{folder / WEIGHTS_FILE}: not readable ({error}); train again or give another model folder"
        ) from error
