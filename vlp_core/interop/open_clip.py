"""open_clip's models in this library: CLIP as it is, CoCa under the names of the recipe's parts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor, nn

from vlp_core.dual_encoder import export_weights
from vlp_core.errors import UserError, first_line
from vlp_core.interop.names import Rules, State, part, renamed, under
from vlp_core.interop.trained import Picture, Sizes

VISION: Rules = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
FEED_FORWARD = {"feed_forward_norm": "ln_2", "feed_forward.0": "mlp.c_fc", "feed_forward.2": "mlp.c_proj"}


def from_open_clip(model: nn.Module) -> State:
    """Weights for `System.load_finished` of a system that has the model's sizes.

    A CLIP's go into the CLIP recipe, a CoCa's (a ViT with an attentional pool, and words of open_clip's own) into CoCa.
    A CoCa's class token sees the whole text here and no padding. In open_clip it does so with `correct_cls_mask`;
    without, which is how the published weights were trained, it sees one padding token in its own place wherever a text
    does not fill the context.
    """
    theirs = export_weights(model.state_dict())
    if not isinstance(model, open_clip.CoCa):
        return theirs
    scores = theirs["text_decoder.text_projection"].T
    return {
        **under("model.image", _image(part(theirs, "visual"))),
        **under("model.text", _text(part(theirs, "text"))),
        **under("model.fusion", _decoder(part(theirs, "text_decoder"))),
        "model.align.image.weight": theirs["visual.proj"].T.contiguous(),
        "model.align.text.weight": theirs["text.text_projection"].T.contiguous(),
        "model.align.scale.logarithm": theirs["logit_scale"].reshape(1),
        "objectives.caption.objective.head.weight": scores.contiguous(),
    }


def tower(state: State, model_cfg: Mapping[str, Any]) -> Picture:
    """The picture's tower of a model of this configuration; UserError where it is no vision transformer."""
    vision_cfg = model_cfg["vision_cfg"]
    if vision_cfg.get("timm_model_name"):
        raise UserError(f"its tower is timm's {vision_cfg['timm_model_name']}; give that as timm:NAME:FILE")
    layers, width = vision_cfg.get("layers", 12), vision_cfg.get("width", 768)
    if not isinstance(layers, int):
        raise UserError("its tower is a ResNet of CLIP's, which no other system has; give one with a ViT")
    sizes = Sizes(
        layers,
        width,
        width // vision_cfg.get("head_width", 64),
        vision_cfg.get("patch_size", 16),
        "quick_gelu" if model_cfg.get("quick_gelu") else "gelu",
    )
    theirs = part(state, "visual")
    if vision_cfg.get("attentional_pool"):  # then the last norm is of what was pooled
        theirs = {name: value for name, value in theirs.items() if not name.startswith("ln_post.")}
    return Picture(state=vision(theirs), sizes=sizes)


def read_weights(file: Path) -> State:
    """As open_clip's training saves them, or its published files have them; UserError for other files."""
    try:
        found: State = open_clip.factory.load_state_dict(str(file))
    except Exception as error:  # torch and safetensors have many kinds for a file that is not theirs
        raise UserError(f"not weights that open_clip can read ({first_line(error)})") from error
    return found


def vision(theirs: State) -> State:
    """The vision transformer under timm's names, without what pools or projects."""
    found = renamed(theirs, VISION, leave_out=r"proj$|attn_pool")
    if "cls_token" in found:
        found["cls_token"] = found["cls_token"][None, None]
    if "pos_embed" in found:
        found["pos_embed"] = found["pos_embed"][None]
    return found


def _image(theirs: State) -> State:
    """The vision transformer, and the pool over it."""
    pool = part(theirs, "attn_pool")
    body = {name: value for name, value in vision(theirs).items() if not name.startswith("norm.")}
    return {
        **under("encoder.body", body),
        "pool.query": pool["query"],
        **_renamed(pool, "pool.", {"query_norm": "ln_q", "context_norm": "ln_k"}),
        **under("pool.attention", _attention(part(pool, "attn"))),
        **under("norm", part(theirs, "ln_post")),
    }


def _text(theirs: State) -> State:
    """The lower half of the decoder; the class token stands at the last place there is."""
    places = theirs["positional_embedding"]
    return {
        "embed.word.weight": theirs["token_embedding.weight"],
        "embed.position.weight": places[:-1].clone(),
        "whole": (theirs["cls_emb"] + places[-1])[None, None],
        **under("trunk.blocks", _stack(theirs, "transformer.resblocks")),
        **under("norm", part(theirs, "ln_final")),
    }


def _decoder(theirs: State) -> State:
    """The upper half, whose blocks stand in two lists."""
    looks: State = {}
    for i in _blocks(theirs, "cross_attn"):
        block = part(theirs, f"cross_attn.{i}")
        looks |= _renamed(block, f"{i}.", {"cross_norm": "ln_1", "context_norm": "ln_1_kv"} | FEED_FORWARD)
        looks |= under(f"{i}.cross", _attention(part(block, "attn")))
    return {
        **under("words", _stack(theirs, "resblocks")),
        **under("pictures", looks),
        **under("norm", part(theirs, "ln_final")),
    }


def _stack(theirs: State, name: str) -> State:
    """A list of blocks with self-attention as `nn.blocks.Block` names them."""
    ours: State = {}
    for i in _blocks(theirs, name):
        block = part(theirs, f"{name}.{i}")
        ours |= _renamed(block, f"{i}.", {"attention_norm.self": "ln_1"} | FEED_FORWARD)
        ours |= under(f"{i}.attention.self", _attention(part(block, "attn")))
    return ours


def _attention(theirs: State) -> State:
    """torch's MultiheadAttention, where queries, keys and values are one map or, of different widths, three."""
    if "in_proj_weight" in theirs:
        weights: Iterable[Tensor] = theirs["in_proj_weight"].chunk(3)
    else:
        weights = [theirs[f"{part}_proj_weight"] for part in "qkv"]
    ours = _renamed(theirs, "", {"output": "out_proj"})
    for name, weight, bias in zip(("query", "key", "value"), weights, theirs["in_proj_bias"].chunk(3), strict=True):
        ours |= {f"{name}.weight": weight.clone(), f"{name}.bias": bias.clone()}
    return ours


def _blocks(theirs: State, name: str) -> range:
    return range(1 + max(int(key.split(".")[0]) for key in part(theirs, name)))


def _renamed(theirs: State, before: str, names: dict[str, str]) -> State:
    """Weight and bias of these parts, ours -> theirs."""
    return {
        f"{before}{own}.{kind}": theirs[f"{name}.{kind}"] for own, name in names.items() for kind in ("weight", "bias")
    }
