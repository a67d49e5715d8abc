"""transformers' CLIP under open_clip's names, which are those of the CLIP recipe."""

from torch import Tensor

from vlp_core.interop import open_clip
from vlp_core.interop.names import Rules, State, joined, part, renamed, under
from vlp_core.interop.trained import Config, Picture, Sizes, Whole, sizes_of

BLOCKS: Rules = (
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
PICTURE: Rules = (
    (r"^embeddings\.class_embedding$", "class_embedding"),
    (r"^embeddings\.patch_embedding\.", "conv1."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^pre_layrnorm\.", "ln_pre."),  # so it is spelt
    (r"^post_layernorm\.", "ln_post."),
    *BLOCKS,
)
TEXT: Rules = (
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^final_layer_norm\.", "ln_final."),
    *BLOCKS,
)
# What a configuration inside another leaves out, where it was written by some versions of the library.
PICTURE_SIZES = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "patch_size": 32}
TEXT_SIZES = {"num_hidden_layers": 12, "hidden_size": 512, "num_attention_heads": 8}
ACTIVATION = {"hidden_act": "quick_gelu"}
_OTHER = r"embeddings\.position_ids$|visual_projection\."


def whole(state: State, config: Config) -> Whole:
    """A CLIPModel."""
    found = {
        **under("visual", _stack(part(state, "vision_model"), PICTURE)),
        **_stack(part(state, "text_model"), TEXT),
        "visual.proj": _turned(state["visual_projection.weight"]),
        "text_projection": _turned(state["text_projection.weight"]),
        "logit_scale": state["logit_scale"],
    }
    text = sizes_of(TEXT_SIZES | ACTIVATION | config["text_config"])
    return Whole(kind="clip", state=found, sizes={"visual": _picture_sizes(config), "transformer": text})


def tower(state: State, config: Config) -> Picture:
    """The picture's tower of a CLIPModel, or a CLIPVisionModel."""
    theirs = _stack(part(state, "vision_model") or state, PICTURE)
    return Picture(state=open_clip.vision(theirs), sizes=_picture_sizes(config))


def _picture_sizes(config: Config) -> Sizes:
    return sizes_of(PICTURE_SIZES | ACTIVATION | config.get("vision_config", config))


def _stack(theirs: State, names: Rules) -> State:
    own = renamed(theirs, names, leave_out=_OTHER)
    return joined(own, [f".attn.{kind}_proj." for kind in "qkv"], ".attn.in_proj_")


def _turned(weight: Tensor) -> Tensor:
    return weight.T.contiguous()
