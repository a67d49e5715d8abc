"""transformers' BERT as the text encoder of a recipe, and what other models of that library have in common with it."""

from torch import Tensor, nn

State = dict[str, Tensor]
BLOCK = {
    "attention.self.query": "attention.self.query",
    "attention.self.key": "attention.self.key",
    "attention.self.value": "attention.self.value",
    "attention.output.dense": "attention.self.output",
    "attention.output.LayerNorm": "attention_norm.self",
    "intermediate.dense": "feed_forward.0",
    "output.dense": "feed_forward.2",
    "output.LayerNorm": "feed_forward_norm",
}


def from_transformers(model: nn.Module) -> State:
    """Weights of a BertModel's embeddings and blocks, as of a recipe whose text encoder is a WordEncoder (METER).

    Its pooler has no part there.
    """
    theirs = model.state_dict()
    return {
        **under("model.text.embed", embedding(part(theirs, "embeddings"))),
        **under("model.text.trunk.blocks", blocks(part(theirs, "encoder.layer"), BLOCK)),
    }


def embedding(theirs: State) -> State:
    """A WordEmbed's weights. Every word is of the first sentence: that type goes into the table of places."""
    places = theirs["position_embeddings.weight"] + theirs["token_type_embeddings.weight"][0]
    return {
        "word.weight": theirs["word_embeddings.weight"].clone(),
        "position.weight": places,
        **renamed(theirs, {"LayerNorm": "norm"}),
    }


def blocks(theirs: State, names: dict[str, str]) -> State:
    """Weights of blocks, each under its number; `names`: their parts -> ours."""
    found: State = {}
    for number in {key.split(".")[0] for key in theirs}:
        found |= under(number, renamed(part(theirs, number), names))
    return found


def renamed(theirs: State, names: dict[str, str]) -> State:
    """Weight and bias of these parts, theirs -> ours."""
    return {
        f"{ours}.{kind}": theirs[f"{name}.{kind}"].clone()
        for name, ours in names.items()
        for kind in ("weight", "bias")
    }


def part(state: State, name: str) -> State:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def under(name: str, state: State) -> State:
    return {f"{name}.{key}": value for key, value in state.items()}
