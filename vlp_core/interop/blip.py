"""transformers' BLIP under the names of the BLIP recipe: models for retrieval or for captions, each a part of it."""

import re
from collections.abc import Iterator

from torch import Tensor, nn

from vlp_core.errors import UserError
from vlp_core.fusion.cross_attention import DECODE
from vlp_core.nn.blocks import FULL

BLOCK = r"encoder\.layers?\.(\d+)\."
PICTURE = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding": "patch_embed.proj",
    "post_layernorm": "norm",
    "self_attn.qkv": "attn.qkv",
    "self_attn.projection": "attn.proj",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
TEXT = {
    "embeddings.word_embeddings": "word",
    "embeddings.position_embeddings": "position",
    "embeddings.LayerNorm": "norm",
    "attention.self.query": "attention.{role}.query",
    "attention.self.key": "attention.{role}.key",
    "attention.self.value": "attention.{role}.value",
    "attention.output.dense": "attention.{role}.output",
    "attention.output.LayerNorm": "attention_norm.{role}",
    "crossattention.self.query": "cross.query",
    "crossattention.self.key": "cross.key",
    "crossattention.self.value": "cross.value",
    "crossattention.output.dense": "cross.output",
    "crossattention.output.LayerNorm": "cross_norm",
    "intermediate.dense": "feed_forward.0",
    "output.dense": "feed_forward.2",
    "output.LayerNorm": "feed_forward_norm",
}
HEADS = {
    "vision_proj": "model.align.image",
    "text_proj": "model.align.text",
    "itm_head": "objectives.itm.head",
    "text_decoder.cls.predictions.transform.dense": "objectives.lm.head.dense",
    "text_decoder.cls.predictions.transform.LayerNorm": "objectives.lm.head.norm",
    "text_decoder.cls.predictions.bias": "objectives.lm.head.scores.bias",
}
STACKS = {
    "vision_model.": ("model.image.body", "model.image.body.blocks", PICTURE),
    "text_encoder.": ("model.text", "model.fusion.trunk.blocks", TEXT),
    "text_decoder.bert.": ("model.text", "model.fusion.trunk.blocks", TEXT),
}
TIED = "text_decoder.cls.predictions.decoder."  # the embedding of the words, and the bias once more


def from_transformers(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a BlipForImageTextRetrieval (all but the decoder's and the scale) or a BlipForConditionalGeneration
    (all that writes).

    The norms of a ViT have the eps of its configuration, which published ones give as 1e-5; the paper's code and the
    recipe have 1e-6.
    """
    return dict(_renamed(model))


def _renamed(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in model.state_dict().items():
        if name.startswith(TIED):
            continue
        yield _ours(name), value.detach().clone()


def _ours(name: str) -> str:
    for whole, (outside, blocks, names) in STACKS.items():
        if name.startswith(whole):
            inside = name.removeprefix(whole)
            block = re.match(BLOCK, inside)
            if block is None:
                return f"{outside}.{_part(inside, names, name)}"
            role = DECODE if whole.startswith("text_decoder") else FULL
            return f"{blocks}.{block[1]}.{_part(inside[block.end() :], names, name).format(role=role)}"
    return _part(name, HEADS, name)


def _part(inside: str, names: dict[str, str], name: str) -> str:
    """A weight or a bias of a part, or a parameter of its own, under our name."""
    if inside in names:
        return names[inside]
    part, _, kind = inside.rpartition(".")
    if part not in names:
        raise UserError(f"{name}: BLIP has no such weight")
    return f"{names[part]}.{kind}"
