"""The transformer block and a stack of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vlp_core.nn.attention import Attention, KeyValues
from vlp_core.nn.masks import Mask

Norm = Literal["pre", "post"]
FULL = "self"


@dataclass
class Cache:
    """What a stack keeps of the tokens that were read: keys and values of each block, by what they attend to."""

    own: list[KeyValues] = field(default_factory=list)
    context: list[KeyValues] = field(default_factory=list)
    length: int = 0
    """Tokens that are kept."""

    def block(self, i: int) -> tuple[KeyValues, KeyValues]:
        while len(self.own) <= i:
            self.own.append(KeyValues())
            self.context.append(KeyValues())
        return self.own[i], self.context[i]

    def rows(self, index: Tensor) -> None:
        """Keep these rows of the batch, in this order: beams that were chosen, each in the place of one with the same
        context."""
        for kept in self.own:
            kept.rows(index)


class FeedForward(nn.Sequential):
    """Two linear maps with an activation between them: [..., dim] -> [..., dim]."""

    def __init__(
        self, dim: int, hidden: int, activation: Callable[[], nn.Module] = nn.GELU, dropout: float = 0.0
    ) -> None:
        super().__init__(nn.Linear(dim, hidden), activation(), nn.Linear(hidden, dim), nn.Dropout(dropout))


class Block(nn.Module):
    """Self-attention, attention to a context where it has one, feed-forward; each added to what comes in.

    norm: "pre" normalises what goes into a part (ViT, GPT), "post" what comes out of the sum (BERT).
    roles: names of self-attentions, each with its norm; a block that encodes and decodes has one for either and shares
        the rest (BLIP).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        norm: Norm = "pre",
        context_dim: int | None = None,
        hidden: int | None = None,
        eps: float = 1e-6,
        dropout: float = 0.0,
        activation: Callable[[], nn.Module] = nn.GELU,
        roles: tuple[str, ...] = (FULL,),
    ) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.attention = nn.ModuleDict({role: Attention(dim, heads, dropout=dropout) for role in roles})
        self.attention_norm = nn.ModuleDict({role: nn.LayerNorm(dim, eps=eps) for role in roles})
        self.dropout = nn.Dropout(dropout)
        if context_dim is not None:
            self.cross = Attention(dim, heads, context_dim=context_dim, dropout=dropout)
            self.cross_norm = nn.LayerNorm(dim, eps=eps)
        self.feed_forward = FeedForward(dim, hidden or 4 * dim, activation, dropout)
        self.feed_forward_norm = nn.LayerNorm(dim, eps=eps)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Mask = None,
        context: Tensor | None = None,
        context_mask: Mask = None,
        role: str = FULL,
        kept: tuple[KeyValues, KeyValues] | None = None,
    ) -> Tensor:
        """x [B, L, dim], context [B, N, context_dim] or None to leave that part out -> [B, L, dim]."""
        own, other = kept or (None, None)
        attention = self.attention[role]
        x = self._add(x, self.attention_norm[role], lambda y: self.dropout(attention(y, mask=mask, kept=own)))
        if context is not None:
            x = self._add(
                x, self.cross_norm, lambda y: self.dropout(self.cross(y, context, mask=context_mask, kept=other))
            )
        return self._add(x, self.feed_forward_norm, self.feed_forward)

    def _add(self, x: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        return x + part(norm(x)) if self.pre else norm(x + part(x))


class Trunk(nn.Module):
    """`depth` blocks, and a last norm where the blocks normalise what goes in.

    last_norm: False leaves the last norm to who takes the states.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        norm: Norm = "pre",
        context_dim: int | None = None,
        hidden: int | None = None,
        eps: float = 1e-6,
        dropout: float = 0.0,
        activation: Callable[[], nn.Module] = nn.GELU,
        roles: tuple[str, ...] = (FULL,),
        last_norm: bool = True,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                norm=norm,
                context_dim=context_dim,
                hidden=hidden,
                eps=eps,
                dropout=dropout,
                activation=activation,
                roles=roles,
            )
            for _ in range(depth)
        )
        self.norm: nn.Module = nn.LayerNorm(dim, eps=eps) if norm == "pre" and last_norm else nn.Identity()
        initialise(self, dim)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Mask = None,
        context: Tensor | None = None,
        context_mask: Mask = None,
        role: str = FULL,
        cache: Cache | None = None,
    ) -> Tensor:
        """x [B, L, dim] -> [B, L, dim]; see `Block` and `Cache`."""
        for i, block in enumerate(self.blocks):
            kept = cache.block(i) if cache is not None else None
            x = block(x, mask=mask, context=context, context_mask=context_mask, role=role, kept=kept)
        if cache is not None:
            cache.length += x.shape[1]
        return self.norm(x)


def first_std(dim: int) -> float:
    """BERT's 0.02 at its width of 768 and beyond; what gives the same gain in a narrower model, which would otherwise
    begin as next to nothing beside its own residuals."""
    return 0.02 * max(1.0, 768 / dim) ** 0.5


def initialise(module: nn.Module, dim: int) -> None:
    """BERT's first weights (Devlin et al., 2018, arXiv:1810.04805): normal, biases 0, norms the identity.

    dim: the width of the model that it is part of.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=first_std(dim))
        if isinstance(part, nn.Linear | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)


def position_table(length: int, dim: int) -> nn.Parameter:
    """[1, length, dim], to be learnt."""
    return nn.Parameter(torch.randn(1, length, dim) * first_std(dim))
