"""transformers' masked autoencoder: what VLC begins with (arXiv:2205.09256, section 3)."""

from dataclasses import replace

from vlp_core.interop import vit
from vlp_core.interop.names import BLOCK, Rules, State, as_stream, part, renamed, under
from vlp_core.interop.trained import Config, Picture, sizes_of

DECODER: Rules = (
    (r"^decoder_(?:layers|encoder\.layer)\.", "trunk.blocks."),
    (r"^decoder_norm\.", "trunk.norm."),
    (r"^decoder_embed\.", "embed."),
    (r"^decoder_pred\.", "pixels."),
    (r"^decoder_pos_embed$", "position"),
    (r"^mask_token$", "hidden"),
    *BLOCK,
)


def tower(state: State, config: Config) -> Picture:
    """A ViTMAEForPreTraining, or a ViTMAEModel, which has no decoder.

    Its places are fixed sines; here they are tables that begin so.
    """
    found = vit.tower(state, config)
    decoder = renamed(part(state, "decoder"), DECODER)
    if not decoder:
        return found
    for kind in ("weight", "bias"):  # their pixels have the channels last, ours first
        pixels = decoder[f"pixels.{kind}"].unflatten(0, (-1, config["num_channels"]))
        decoder[f"pixels.{kind}"] = pixels.transpose(0, 1).flatten(0, 1)
    sizes = replace(sizes_of(config, "decoder_"), patch=config["patch_size"])
    return replace(found, decoder=decoder, decoder_sizes=sizes)


def weights(state: State, config: Config) -> State:
    """As of VLC: the patches' embedding, the transformer, and the decoder of pixels."""
    found = tower(state, config)
    return {**as_stream(found.state), **under("objectives.mim.decoder", found.decoder)}
