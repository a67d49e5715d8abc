"""transformers' ViT, and with it those DeiTs that were not distilled."""

from vlp_core.errors import UserError
from vlp_core.interop.names import BLOCK, Rules, State, as_timms, part, renamed
from vlp_core.interop.trained import Config, Picture, sizes_of

BODY: Rules = (
    (r"^(?:encoder\.layer|layers)\.", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    *BLOCK,
)
_OTHER = r"pooler\.|classifier\.|decoder\.|embeddings\.mask_token$"


def tower(state: State, config: Config) -> Picture:
    """A ViTModel, or one with a head, which is left out."""
    theirs = renamed(part(state, "vit") or state, BODY, leave_out=_OTHER)
    return Picture(state=as_timms(theirs), sizes=sizes_of(config))


def distilled(_state: State, _config: Config) -> Picture:
    """What transformers calls a DeiT always has a token that no system here has."""
    raise UserError(
        "a DeiT that was distilled, whose states depend on a token of their own; give one that was not "
        "(deit-base-patch16-224, which is a vit)"
    )
