"""transformers' masked autoencoder as what the VLC recipe begins with (arXiv:2205.09256, section 3)."""

from torch import nn

from vlp_core.interop.bert import State, blocks, part, renamed, under

BLOCK = {
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.o_proj": "attention.self.output",
    "layernorm_before": "attention_norm.self",
    "mlp.fc1": "feed_forward.0",
    "mlp.fc2": "feed_forward.2",
    "layernorm_after": "feed_forward_norm",
}


def from_transformers(model: nn.Module) -> State:
    """Weights of a ViTMAEForPreTraining: the patches' embedding, the transformer, and the decoder of pixels.

    Its places are fixed sines; here they are tables that begin so.
    """
    theirs: State = model.state_dict()
    body, decoder = part(theirs, "vit"), part(theirs, "decoder")
    patch = body["embeddings.patch_embeddings.projection.weight"]
    return {
        "model.image.whole": body["embeddings.cls_token"].clone(),
        "model.image.position": body["embeddings.position_embeddings"].clone(),
        "model.image.projection.weight": patch.flatten(1).clone(),
        "model.image.projection.bias": body["embeddings.patch_embeddings.projection.bias"].clone(),
        **under("model.fusion.trunk.blocks", blocks(part(body, "layers"), BLOCK)),
        **under("model.fusion.trunk", renamed(body, {"layernorm": "norm"})),
        **under("objectives.mim.decoder", _decoder(decoder, channels=patch.shape[1])),
    }


def _decoder(theirs: State, channels: int) -> State:
    """Their pixels have the channels last, ours first."""
    pixels = {
        f"pixels.{kind}": value.unflatten(0, (-1, channels)).transpose(0, 1).flatten(0, 1)
        for kind, value in part(theirs, "decoder_pred").items()
    }
    return {
        "hidden": theirs["mask_token"].clone(),
        "position": theirs["decoder_pos_embed"].clone(),
        **renamed(theirs, {"decoder_embed": "embed", "decoder_norm": "trunk.norm"}),
        **under("trunk.blocks", blocks(part(theirs, "decoder_layers"), BLOCK)),
        **pixels,
    }
