"""Who may attend to whom in which fusion. What a fusion does not have it refuses: another would show later words."""

from torch import nn

from vlp_core.errors import UserError

ATTENTIONS: dict[str, tuple[str, ...]] = {
    "CoAttention": ("full",),
    "CrossAttention": ("full", "causal"),
    "CrossDecoder": ("causal",),
    "SingleStream": ("full", "prefix"),
    "TwoWay": ("causal", "backward"),
}
"""full: everything sees everything. The others are of words, which see the picture, and of the words those before them:
causal, where they are written; prefix, where the picture stands before them in one stream; backward, from the end."""


def check_attention(fusion: nn.Module, attention: str) -> None:
    """UserError for an attention that this fusion does not have, with those that have it."""
    name = type(fusion).__name__
    if attention not in ATTENTIONS[name]:
        others = ", ".join(other for other, known in ATTENTIONS.items() if attention in known)
        raise UserError(
            f"{name} has no attention {attention!r}, only {' and '.join(map(repr, ATTENTIONS[name]))}; "
            + (f"{attention!r} is of {others}" if others else "no fusion has that")
        )
