"""transformers' ViLT under the names of the ViLT recipe."""

import torch
from torch import Tensor

from vlp_core.interop.bert import embedding
from vlp_core.interop.names import BLOCK, Rules, State, part, renamed, under
from vlp_core.interop.trained import Config, Whole, sizes_of

NAMES: Rules = (
    (r"^encoder\.layer\.", "model.fusion.trunk.blocks."),
    (r"^layernorm\.", "model.fusion.trunk.norm."),
    (r"^pooler\.", "model.fusion.pool."),
    (r"^embeddings\.cls_token$", "model.image.whole"),
    (r"^embeddings\.position_embeddings$", "model.image.position"),
    (r"^embeddings\.patch_embeddings\.projection\.", "model.image.projection."),
    (r"^embeddings\.token_type_embeddings\.", "model.fusion.modality."),
    *BLOCK,
)
_APART = r"embeddings\.text_embeddings\.|mlm_score\.|rank_output\.|classifier\."


def whole(state: State, config: Config) -> Whole:
    """A ViltModel or one with a head: that of a ViltForMaskedLM or a ViltForImageAndTextRetrieval comes along."""
    body = part(state, "vilt") or state
    found = renamed(body, NAMES, leave_out=_APART)
    found["model.image.projection.weight"] = found["model.image.projection.weight"].flatten(1)
    # Text is the first of their modalities, and the picture of ours.
    found["model.fusion.modality.weight"] = found["model.fusion.modality.weight"][[1, 0]]
    found |= under("model.text", embedding(part(body, "embeddings.text_embeddings")))
    found |= under("objectives.mlm.head", _words(part(state, "mlm_score")))
    if "rank_output.weight" in state:
        found |= under("objectives.itm.head", _against_nothing(part(state, "rank_output")))
    return Whole(kind="vilt", state=found, sizes={"model": sizes_of(config)})


def _words(head: State) -> State:
    """The scores' weight is the embedding of the words, and some files have their bias twice."""
    rules = (
        (r"^transform\.dense\.", "dense."),
        (r"^transform\.LayerNorm\.", "norm."),
        (r"^(?:decoder\.)?bias$", "scores.bias"),
    )
    twice = r"bias$" if "decoder.bias" in head else r"(?!)"
    return renamed(head, rules, leave_out=rf"decoder\.weight$|{twice}")


def _against_nothing(rank: State) -> State:
    """A score of matching [1, dim] as one of two logits, the other of which is always 0."""
    kinds: dict[str, Tensor] = {kind: rank[kind] for kind in ("weight", "bias")}
    return {kind: torch.cat([torch.zeros_like(value), value]) for kind, value in kinds.items()}
