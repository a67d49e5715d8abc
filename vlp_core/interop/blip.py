"""transformers' BLIP under the names of the BLIP recipe: models for retrieval or for captions, each a part of it."""

from vlp_core.data import tokens
from vlp_core.fusion.cross_attention import DECODE
from vlp_core.interop.bert import BODY, embedding
from vlp_core.interop.names import Rules, State, part, renamed, under
from vlp_core.interop.trained import Config, Picture, Sizes, Whole, sizes_of
from vlp_core.nn.blocks import FULL

PICTURE: Rules = (
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding$", "pos_embed"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.self_attn\.qkv\.", ".attn.qkv."),
    (r"\.self_attn\.projection\.", ".attn.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
)
HEADS: Rules = (
    (r"^vision_proj\.", "model.align.image."),
    (r"^text_proj\.", "model.align.text."),
    (r"^itm_head\.", "objectives.itm.head."),
    (r"^text_decoder\.cls\.predictions\.transform\.dense\.", "objectives.lm.head.dense."),
    (r"^text_decoder\.cls\.predictions\.transform\.LayerNorm\.", "objectives.lm.head.norm."),
    (r"^text_decoder\.cls\.predictions\.bias$", "objectives.lm.head.scores.bias"),
)
# What a configuration inside another leaves out, where it was written by some versions of the library.
PICTURE_SIZES = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "patch_size": 16}
TEXT_SIZES = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 8}
_STACKS = r"vision_model\.|text_encoder\.|text_decoder\.bert\."
_TIED = r"text_decoder\.cls\.predictions\.decoder\."  # the embedding of the words, and the bias once more


def whole(state: State, config: Config) -> Whole:
    """A BlipForImageTextRetrieval (all but the decoder's and the scale) or a BlipForConditionalGeneration (all that
    writes).

    The norms of a ViT have the eps of its configuration, which published ones give as 1e-5; the paper's code and the
    recipe have 1e-6.
    """
    found = renamed(state, HEADS, leave_out=f"{_STACKS}|{_TIED}")
    found |= under("model.image.body", tower(state, config).state)
    for name, role in (("text_encoder", FULL), ("text_decoder.bert", DECODE)):
        if theirs := part(state, name):
            found |= _text(theirs, role)
    text = sizes_of(TEXT_SIZES | config["text_config"])
    sizes = {"model.image.body": _picture_sizes(config), "model.fusion.trunk": text}
    begins = config["text_config"].get("bos_token_id", 30_522)  # what is written; the next, what is read with a picture
    return Whole(kind="blip", state=found, sizes=sizes, words={tokens.DECODE: begins, tokens.ENCODE: begins + 1})


def tower(state: State, config: Config) -> Picture:
    """The picture's encoder alone."""
    body = renamed(part(state, "vision_model") or state, PICTURE)
    return Picture(state=body, sizes=_picture_sizes(config))


def _picture_sizes(config: Config) -> Sizes:
    return sizes_of(PICTURE_SIZES | config.get("vision_config", config))


def _text(theirs: State, role: str) -> State:
    """Embedding and blocks, with the self-attention of a role."""
    rules = (
        *BODY,
        (r"\.attention\.self\.", f".attention.{role}."),
        (r"\.attention_norm\.self\.", f".attention_norm.{role}."),
        (r"^blocks\.", "model.fusion.trunk.blocks."),
    )
    blocks = renamed(theirs, rules, leave_out=r"embeddings\.|pooler\.")
    return {**under("model.text", embedding(part(theirs, "embeddings"))), **blocks}
