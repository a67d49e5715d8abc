"""Small models of other libraries, of random weights in all of their parts, and their folders."""

from pathlib import Path

import open_clip
import torch
from open_clip import factory
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    BlipConfig,
    BlipForImageTextRetrieval,
    CLIPConfig,
    CLIPModel,
    DeiTConfig,
    DeiTModel,
    ViltConfig,
    ViltForMaskedLM,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

from tests.vlp_core.recipes.builders import WORDS

SIZE, DIM, DEPTH, HEADS = 32, 32, 3, 4
STACK = {"hidden_size": DIM, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "intermediate_size": 4 * DIM}
READS = {"vocab_size": WORDS.size, "max_position_embeddings": WORDS.length}
XSMALL = {"hidden_size": 256, "num_hidden_layers": 10, "num_attention_heads": 4, "intermediate_size": 1024}
CLIP_VIT = "vit_xsmall_patch16_clip_224"
"""timm's smallest with a CLIP's structure, which has these sizes."""
NARROW = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def shaken(model: nn.Module, by: float = 0.05) -> nn.Module:
    """No bias is 0 and no norm 1, to hide a mistake."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn_like(parameter)
    return model.eval()


def vit(*, size: int = SIZE, patch: int = 8, **sizes: int) -> ViTModel:
    return shaken(ViTModel(ViTConfig(**{**STACK, **sizes}, image_size=size, patch_size=patch)))


def deit() -> DeiTModel:
    return shaken(DeiTModel(DeiTConfig(**STACK, image_size=SIZE, patch_size=8)))


def bert(**sizes: int) -> BertModel:
    return shaken(BertModel(BertConfig(**{**STACK, **READS, **sizes})), 0.1)


def mae() -> ViTMAEForPreTraining:
    narrow = {f"decoder_{name}": value for name, value in NARROW.items()}
    return shaken(ViTMAEForPreTraining(ViTMAEConfig(**STACK, **narrow, image_size=SIZE, patch_size=8)))


def vilt(*, size: int = SIZE) -> ViltForMaskedLM:
    return shaken(ViltForMaskedLM(ViltConfig(**STACK, **READS, image_size=size, patch_size=8)))


def blip() -> BlipForImageTextRetrieval:
    texts = {**STACK, **READS, "bos_token_id": 5, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    pictures = {**STACK, "image_size": SIZE, "patch_size": 8}
    return shaken(
        BlipForImageTextRetrieval(BlipConfig(text_config=texts, vision_config=pictures, image_text_hidden_size=256))
    )


def clip(*, activation: str = "gelu", patch: int = 16, **sizes: int) -> CLIPModel:
    """A text tower like that of `tests.vlp_core.train.builders.SMALL`, but for its activation."""
    words = {"vocab_size": 49_408, "max_position_embeddings": 8, "eos_token_id": 49_407, "hidden_act": activation}
    texts = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 128, **words}
    pictures = {**XSMALL, **sizes, "image_size": SIZE, "patch_size": patch, "hidden_act": activation}
    return shaken(CLIPModel(CLIPConfig(text_config=texts, vision_config=pictures, projection_dim=32)), 0.02)


def open_clips(monkeypatch, name: str = "ViT-B-16", **sizes: int) -> nn.Module:
    """open_clip's architecture by that name, made as small as timm's."""
    config = open_clip.get_model_config(name)
    config["vision_cfg"] |= {"width": 256, "layers": 10, "image_size": SIZE, **sizes}
    config["text_cfg"] |= {"width": 32, "layers": 1, "heads": 1}
    monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)
    return shaken(open_clip.create_model(name), 0.02)


def saved(model: nn.Module, folder: Path, pieces: list[str] | None = None) -> Path:
    """As transformers saves it, and with the word pieces of its tokenizer."""
    model.save_pretrained(folder)
    if pieces is not None:
        (folder / "vocab.txt").write_text("\n".join(pieces))
    return folder
