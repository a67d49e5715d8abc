"""transformers' ViLT under the names of the ViLT recipe."""

import torch
from torch import Tensor, nn

from vlp_core.interop.bert import State, blocks, embedding, part, renamed, under

BLOCK = {
    "attention.attention.query": "attention.self.query",
    "attention.attention.key": "attention.self.key",
    "attention.attention.value": "attention.self.value",
    "attention.output.dense": "attention.self.output",
    "layernorm_before": "attention_norm.self",
    "intermediate.dense": "feed_forward.0",
    "output.dense": "feed_forward.2",
    "layernorm_after": "feed_forward_norm",
}


def from_transformers(model: nn.Module) -> State:
    """Weights of a ViltModel and, where it is a ViltForMaskedLM or a ViltForImageAndTextRetrieval, of that head."""
    theirs: State = model.state_dict()
    body = part(theirs, "vilt") or theirs
    found = {
        **under("model.image", _image(part(body, "embeddings"))),
        **under("model.text", embedding(part(body, "embeddings.text_embeddings"))),
        # Text is the first of their modalities, and the picture of ours.
        "model.fusion.modality.weight": body["embeddings.token_type_embeddings.weight"][[1, 0]],
        **under("model.fusion.trunk.blocks", blocks(part(body, "encoder.layer"), BLOCK)),
        **under("model.fusion", renamed(body, {"layernorm": "trunk.norm", "pooler.dense": "pool.dense"})),
    }
    if "mlm_score.decoder.bias" in theirs:  # whose weight is the embedding of the words
        head = part(theirs, "mlm_score")
        found |= under(
            "objectives.mlm.head", renamed(head, {"transform.dense": "dense", "transform.LayerNorm": "norm"})
        )
        found["objectives.mlm.head.scores.bias"] = head["decoder.bias"].clone()
    if "rank_output.weight" in theirs:
        found |= under("objectives.itm.head", _against_nothing(part(theirs, "rank_output")))
    return found


def _image(theirs: State) -> State:
    return {
        "whole": theirs["cls_token"].clone(),
        "position": theirs["position_embeddings"].clone(),
        "projection.weight": theirs["patch_embeddings.projection.weight"].flatten(1).clone(),
        "projection.bias": theirs["patch_embeddings.projection.bias"].clone(),
    }


def _against_nothing(rank: State) -> State:
    """A score of matching [1, dim] as one of two logits, the other of which is always 0."""
    kinds: dict[str, Tensor] = {kind: rank[kind] for kind in ("weight", "bias")}
    return {kind: torch.cat([torch.zeros_like(value), value]) for kind, value in kinds.items()}
