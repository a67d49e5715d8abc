"""Weights under other names: what the libraries call the same parts of a transformer."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vlp_core.errors import UserError

State = dict[str, Tensor]
Rules = Sequence[tuple[str, str]]
"""Patterns and what takes their place, each tried on every name, in this order."""

QUERY_KEY_VALUE = tuple(f".attention.self.{name}." for name in ("query", "key", "value"))
BLOCK: Rules = (
    (r"\.attention\.(?:attention\.query|q_proj)\.", QUERY_KEY_VALUE[0]),
    (r"\.attention\.(?:attention\.key|k_proj)\.", QUERY_KEY_VALUE[1]),
    (r"\.attention\.(?:attention\.value|v_proj)\.", QUERY_KEY_VALUE[2]),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attention.self.output."),
    (r"\.layernorm_before\.", ".attention_norm.self."),
    (r"\.layernorm_after\.", ".feed_forward_norm."),
    (r"\.(?:intermediate\.dense|mlp\.fc1)\.", ".feed_forward.0."),
    (r"\.(?:output\.dense|mlp\.fc2)\.", ".feed_forward.2."),
)
"""A block of transformers' ViT, ViLT or MAE as ours: its files have one set of names, its newer models another."""

_OURS_AND_TIMMS = (
    (".attention_norm.self.", ".norm1."),
    (".attention.self.output.", ".attn.proj."),
    (".feed_forward_norm.", ".norm2."),
    (".feed_forward.0.", ".mlp.fc1."),
    (".feed_forward.2.", ".mlp.fc2."),
)


def renamed(state: Mapping[str, Tensor], rules: Rules, *, leave_out: str = r"(?!)") -> State:
    """The weights under the names that the rules make; what no rule knows keeps its own.

    leave_out: a pattern for the beginning of names that are not wanted. UserError where two weights get one name.
    """
    found: State = {}
    for name, value in state.items():
        if re.match(leave_out, name):
            continue
        ours = name
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        if ours in found:
            raise UserError(f"{name}: stands for {ours}, and another weight does already")
        found[ours] = value
    return found


def joined(state: State, parts: Sequence[str], whole: str) -> State:
    """Three maps as one: names that differ in these parts as one name with `whole`."""
    found: State = {}
    for name, value in state.items():
        three = [name.replace(parts[0], part) for part in parts]
        if parts[0] in name and all(one in state for one in three):
            found[name.replace(parts[0], whole)] = torch.cat([state[one] for one in three])
        elif not any(part in name for part in parts):
            found[name] = value
    return found


def as_timms(ours: State) -> State:
    """Blocks as timm's ViT names them."""
    rules = [(re.escape(own), other) for own, other in _OURS_AND_TIMMS]
    return renamed(joined(ours, QUERY_KEY_VALUE, ".attn.qkv."), rules)


def as_stream(vit: State) -> State:
    """A ViT of timm's as a PatchEmbed and the trunk of a SingleStream."""
    rules = [
        (r"^cls_token$", "model.image.whole"),
        (r"^pos_embed$", "model.image.position"),
        (r"^patch_embed\.proj\.", "model.image.projection."),
        (r"^norm_pre\.", "model.image.norm."),
        (r"^(blocks|norm)\.", r"model.fusion.trunk.\1."),
        *((re.escape(other), own) for own, other in _OURS_AND_TIMMS),
    ]
    found: State = {}
    for name, value in renamed(vit, rules).items():
        if ".attn.qkv." in name:
            for part, rows in zip(QUERY_KEY_VALUE, value.chunk(3), strict=True):
                found[name.replace(".attn.qkv.", part)] = rows
        else:
            found[name] = value.flatten(1) if name == "model.image.projection.weight" else value
    # CLIP's patches have no bias.
    found.setdefault("model.image.projection.bias", torch.zeros(len(found["model.image.projection.weight"])))
    return found


def part(state: Mapping[str, Tensor], name: str) -> State:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def under(name: str, state: Mapping[str, Tensor]) -> State:
    return {f"{name}.{key}": value for key, value in state.items()}
