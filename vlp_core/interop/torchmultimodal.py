"""Weights of torchmultimodal's ALBEF under the names of this library's."""

from collections.abc import Iterator, Mapping

from torch import Tensor

Named = Iterator[tuple[str, Tensor]]
State = Mapping[str, Tensor]


def albef(state: State, *, momentum: bool = False) -> dict[str, Tensor]:
    """The state dict of torchmultimodal's `ALBEFModelWithSimilarity` as that of the `model` of a system.

    Its image encoder is torchvision's ViT and ours timm's. Its text encoder adds the type of the first sentence to
    every word, which goes into our table of places. `momentum`: the weights of its momentum model instead.
    """
    which = "_m" if momentum else ""
    found = dict(_vit(_part(state, f"albef_model.vision_encoder{which}.encoder.")))
    text = _part(state, f"albef_model.text_encoder{which}.")
    found |= _words(_part(text, "embeddings."))
    found |= dict(_blocks(_part(text, "encoder.layer."), "text.trunk.blocks"))
    found |= dict(_blocks(_part(state, f"albef_model.multimodal_encoder{which}.layer."), "fusion.trunk.blocks"))
    for ours, theirs in (("image", "vision_proj"), ("text", "text_proj")):
        found |= {f"align.{ours}.{name}": value for name, value in _part(state, f"{theirs}{which}.").items()}
    return {**found, "align.scale.logarithm": -state["temp"].log().reshape(1)}


def _part(state: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _vit(state: State) -> Named:
    names = {
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "conv_proj": "patch_embed.proj",
        "encoder.ln": "norm",
        "ln_1": "norm1",
        "self_attention.in_proj_weight": "attn.qkv.weight",
        "self_attention.in_proj_bias": "attn.qkv.bias",
        "self_attention.out_proj": "attn.proj",
        "ln_2": "norm2",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
    }
    for name, value in state.items():
        layer, block = "", name
        if name.startswith("encoder.layers.encoder_layer_"):
            number, _, block = name.removeprefix("encoder.layers.encoder_layer_").partition(".")
            layer = f"blocks.{number}."
        part, _, kind = block.rpartition(".")
        yield f"image.body.{layer}{names[block] if block in names else f'{names[part]}.{kind}'}", value


def _words(state: State) -> dict[str, Tensor]:
    return {
        "text.embed.word.weight": state["word_embeddings.weight"],
        "text.embed.position.weight": state["position_embeddings.weight"] + state["token_type_embeddings.weight"][0],
        "text.embed.norm.weight": state["layer_norm.weight"],
        "text.embed.norm.bias": state["layer_norm.bias"],
    }


def _blocks(state: State, prefix: str) -> Named:
    names = {
        "attention": "attention.self",
        "attention_layernorm": "attention_norm.self",
        "cross_attention": "cross",
        "cross_attention_layernorm": "cross_norm",
        "feedforward": "feed_forward",
        "feedforward_layernorm": "feed_forward_norm",
    }
    # With dropout their second linear map is the fourth part, without it the third; ours is always the third.
    places = {"model.0": "0", "model.2": "2", "model.3": "2"}
    for name, value in state.items():
        number, part, *inside, kind = name.split(".")
        within = ".".join(inside)
        within = places.get(within, within)
        yield ".".join(piece for piece in (prefix, number, names[part], within, kind) if piece), value
