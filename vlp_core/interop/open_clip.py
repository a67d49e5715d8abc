"""open_clip's models in this library: CLIP as it is, CoCa under the names of the recipe's parts."""

from collections.abc import Iterable

import open_clip
from torch import Tensor, nn

from vlp_core.dual_encoder import export_weights

State = dict[str, Tensor]
TIMM = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
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
        **_under("model.image", _image(_part(theirs, "visual"))),
        **_under("model.text", _text(_part(theirs, "text"))),
        **_under("model.fusion", _decoder(_part(theirs, "text_decoder"))),
        "model.align.image.weight": theirs["visual.proj"].T.contiguous(),
        "model.align.text.weight": theirs["text.text_projection"].T.contiguous(),
        "model.align.scale.logarithm": theirs["logit_scale"].reshape(1),
        "objectives.caption.objective.head.weight": scores.contiguous(),
    }


def _image(theirs: State) -> State:
    """The vision transformer under timm's names, and the pool over it."""
    body = {
        "cls_token": theirs["class_embedding"][None, None],
        "pos_embed": theirs["positional_embedding"][None],
        "patch_embed.proj.weight": theirs["conv1.weight"],
        **_under("norm_pre", _part(theirs, "ln_pre")),
    }
    for i in _blocks(theirs, "transformer.resblocks"):
        block = _part(theirs, f"transformer.resblocks.{i}")
        body |= _renamed(block, f"blocks.{i}.", TIMM)
        body |= {f"blocks.{i}.attn.qkv.{kind}": block[f"attn.in_proj_{kind}"] for kind in ("weight", "bias")}
    pool = _part(theirs, "attn_pool")
    return {
        **_under("encoder.body", body),
        "pool.query": pool["query"],
        **_renamed(pool, "pool.", {"query_norm": "ln_q", "context_norm": "ln_k"}),
        **_under("pool.attention", _attention(_part(pool, "attn"))),
        **_under("norm", _part(theirs, "ln_post")),
    }


def _text(theirs: State) -> State:
    """The lower half of the decoder; the class token stands at the last place there is."""
    places = theirs["positional_embedding"]
    return {
        "embed.word.weight": theirs["token_embedding.weight"],
        "embed.position.weight": places[:-1].clone(),
        "whole": (theirs["cls_emb"] + places[-1])[None, None],
        **_under("trunk.blocks", _stack(theirs, "transformer.resblocks")),
        **_under("norm", _part(theirs, "ln_final")),
    }


def _decoder(theirs: State) -> State:
    """The upper half, whose blocks stand in two lists."""
    looks: State = {}
    for i in _blocks(theirs, "cross_attn"):
        block = _part(theirs, f"cross_attn.{i}")
        looks |= _renamed(block, f"{i}.", {"cross_norm": "ln_1", "context_norm": "ln_1_kv"} | FEED_FORWARD)
        looks |= _under(f"{i}.cross", _attention(_part(block, "attn")))
    return {
        **_under("words", _stack(theirs, "resblocks")),
        **_under("pictures", looks),
        **_under("norm", _part(theirs, "ln_final")),
    }


def _stack(theirs: State, name: str) -> State:
    """A list of blocks with self-attention as `nn.blocks.Block` names them."""
    ours: State = {}
    for i in _blocks(theirs, name):
        block = _part(theirs, f"{name}.{i}")
        ours |= _renamed(block, f"{i}.", {"attention_norm.self": "ln_1"} | FEED_FORWARD)
        ours |= _under(f"{i}.attention.self", _attention(_part(block, "attn")))
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
    return range(1 + max(int(key.split(".")[0]) for key in _part(theirs, name)))


def _part(state: State, name: str) -> State:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _under(name: str, state: State) -> State:
    return {f"{name}.{key}": value for key, value in state.items()}


def _renamed(theirs: State, before: str, names: dict[str, str]) -> State:
    """Weight and bias of these parts, ours -> theirs."""
    return {
        f"{before}{own}.{kind}": theirs[f"{name}.{kind}"] for own, name in names.items() for kind in ("weight", "bias")
    }
