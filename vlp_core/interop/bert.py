"""transformers' BERT: a tower for texts, and what other models of that library have in common with it."""

from vlp_core.errors import UserError
from vlp_core.interop.names import Rules, State, part, renamed, under
from vlp_core.interop.trained import Config, Text, sizes_of

BLOCK: Rules = (
    (r"\.crossattention\.self\.", ".cross."),
    (r"\.crossattention\.output\.dense\.", ".cross.output."),
    (r"\.crossattention\.output\.LayerNorm\.", ".cross_norm."),
    (r"\.attention\.output\.dense\.", ".attention.self.output."),
    (r"\.attention\.output\.LayerNorm\.", ".attention_norm.self."),
    (r"\.intermediate\.dense\.", ".feed_forward.0."),
    (r"\.output\.dense\.", ".feed_forward.2."),
    (r"\.output\.LayerNorm\.", ".feed_forward_norm."),
)
BODY: Rules = (
    (r"\.gamma$", ".weight"),  # so the norms of the first published files are called
    (r"\.beta$", ".bias"),
    (r"^encoder\.layer\.", "blocks."),
    *BLOCK,
)
EMBED: Rules = (
    (r"^word_embeddings\.", "word."),
    (r"^position_embeddings\.", "position."),
    (r"^LayerNorm\.", "norm."),
)
_OTHER = r"pooler\.|cls\.|classifier\.|qa_outputs\.|.*position_ids$"


def tower(state: State, config: Config) -> Text:
    """A BertModel, or one with a head, which is left out. UserError for places that are relative."""
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(f"a BERT with {config['position_embedding_type']} places; give one with absolute places")
    theirs = renamed(part(state, "bert") or state, BODY, leave_out=_OTHER)
    blocks = {name: value for name, value in theirs.items() if not name.startswith("embeddings.")}
    return Text(state={**under("embed", embedding(part(theirs, "embeddings"))), **blocks}, sizes=sizes_of(config))


def weights(state: State, config: Config) -> State:
    """As of a recipe whose text encoder is a WordEncoder (METER)."""
    rules = ((r"^embed\.", "model.text.embed."), (r"^blocks\.", "model.text.trunk.blocks."))
    return renamed(tower(state, config).state, rules)


def embedding(theirs: State) -> State:
    """A WordEmbed's weights. Every word is of the first sentence: that type goes into the table of places."""
    found = renamed(theirs, EMBED, leave_out=r"token_type_embeddings\.|position_ids$")
    if "token_type_embeddings.weight" in theirs and "position.weight" in found:
        found["position.weight"] = found["position.weight"] + theirs["token_type_embeddings.weight"][0]
    return found
