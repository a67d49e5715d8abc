"""Attention, blocks and masks against torch's own, and what is kept while a text is written."""

import pytest
import torch
from torch import Tensor, nn

from vlp_core.nn import masks
from vlp_core.nn.attention import Attention
from vlp_core.nn.attention_pool import AttentionPool
from vlp_core.nn.blocks import Block, Cache, Trunk

DIM, HEADS, WIDTH, ROWS, LENGTH, PLACES = 12, 3, 8, 4, 5, 7


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def scattered(module: nn.Module) -> nn.Module:
    """All its weights random: biases and norms too."""
    with torch.no_grad():
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
    return module.eval()


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    if theirs.in_proj_weight is not None:
        weights = theirs.in_proj_weight.chunk(3)
    else:
        weights = (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight)
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        for part, weight, bias in zip(parts, weights, theirs.in_proj_bias.chunk(3), strict=True):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
    ours.output.load_state_dict(theirs.out_proj.state_dict())


def ragged(length: int) -> Tensor:
    """bool [ROWS, length]: sequences of different lengths, one of them full."""
    return torch.arange(length) < torch.tensor([length, 1, length - 1, 2])[:, None]


@pytest.mark.parametrize(
    ("width", "masked"),
    [
        (None, "nothing"),
        (None, "padding"),
        (None, "what comes later"),
        (DIM, "nothing"),
        (WIDTH, "nothing"),
        (WIDTH, "padding"),
    ],
)
def test_attention_to_itself_or_a_context_is_torchs(width: int | None, masked: str) -> None:
    theirs = scattered(nn.MultiheadAttention(DIM, HEADS, kdim=width, vdim=width, batch_first=True))
    ours = Attention(DIM, HEADS, context_dim=width).eval()
    copy_attention(ours, theirs)
    x = torch.randn(ROWS, LENGTH, DIM)
    context = None if width is None else torch.randn(ROWS, PLACES, width)
    source = x if context is None else context
    there = ragged(source.shape[1]) if masked == "padding" else None
    later = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) if masked == "what comes later" else None
    expected, _ = theirs(x, source, source, key_padding_mask=None if there is None else ~there, attn_mask=later)
    mask = masks.causal(LENGTH, x.device) if later is not None else masks.keys(there)
    torch.testing.assert_close(ours(x, context, mask=mask), expected)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_block_with_a_context_is_torchs_decoder_layer(norm: str) -> None:
    options = {"dropout": 0.0, "activation": "gelu", "layer_norm_eps": 1e-5, "batch_first": True}
    theirs = scattered(nn.TransformerDecoderLayer(DIM, HEADS, 4 * DIM, norm_first=norm == "pre", **options))
    ours = Block(DIM, HEADS, norm=norm, context_dim=DIM, eps=1e-5).eval()
    copy_attention(ours.attention["self"], theirs.self_attn)
    copy_attention(ours.cross, theirs.multihead_attn)
    for part, other in (
        (ours.attention_norm["self"], theirs.norm1),
        (ours.cross_norm, theirs.norm2),
        (ours.feed_forward_norm, theirs.norm3),
        (ours.feed_forward[0], theirs.linear1),
        (ours.feed_forward[2], theirs.linear2),
    ):
        part.load_state_dict(other.state_dict())
    x, context, there = torch.randn(ROWS, LENGTH, DIM), torch.randn(ROWS, PLACES, DIM), ragged(PLACES)
    later = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    expected = theirs(x, context, tgt_mask=later, memory_key_padding_mask=~there)
    found = ours(x, mask=masks.causal(LENGTH, x.device), context=context, context_mask=masks.keys(there))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("mask", "sees"),
    [
        (masks.causal(5, torch.device("cpu")), lambda row, column: column <= row),
        (masks.causal(3, torch.device("cpu"), past=2), lambda row, column: column <= row + 2),
        (masks.prefix(2, 3, torch.device("cpu")), lambda row, column: column < 2 or (row >= 2 and column <= row)),
        (
            masks.both(masks.causal(4, torch.device("cpu")), masks.keys(torch.tensor([[True, False, True, True]]))),
            lambda row, column: column <= row and column != 1,
        ),
    ],
    ids=["causal", "causal with a past", "prefix", "both"],
)
def test_masks_allow_what_they_say(mask: Tensor, sees) -> None:
    rows, columns = mask.shape[-2:]
    assert mask[0, 0].tolist() == [[bool(sees(row, column)) for column in range(columns)] for row in range(rows)]


def test_a_mask_of_nothing_leaves_the_other() -> None:
    one = masks.causal(3, torch.device("cpu"))
    assert masks.both(one, None) is one and masks.both(None, one) is one and masks.both(None, None) is None


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("steps", [(1, 1, 1, 1, 1), (2, 3)], ids=["one by one", "a beginning and the rest"])
def test_a_text_read_step_by_step_is_the_text_read_at_once(norm: str, steps: tuple[int, ...]) -> None:
    trunk = scattered(Trunk(DIM, 2, HEADS, norm=norm, context_dim=WIDTH))
    x, context, there = torch.randn(ROWS, LENGTH, DIM), torch.randn(ROWS, PLACES, WIDTH), ragged(PLACES)
    at_once = trunk(x, mask=masks.causal(LENGTH, x.device), context=context, context_mask=masks.keys(there))
    cache, found = Cache(), []
    for part in x.split(steps, dim=1):
        mask = masks.causal(part.shape[1], x.device, past=cache.length)
        found.append(trunk(part, mask=mask, context=context, context_mask=masks.keys(there), cache=cache))
    torch.testing.assert_close(torch.cat(found, dim=1), at_once)
    assert cache.length == LENGTH


def test_a_cache_goes_on_with_the_rows_that_were_chosen() -> None:
    """Texts about two pictures, each in the place of one about the same."""
    trunk = scattered(Trunk(DIM, 2, HEADS, context_dim=WIDTH))
    x, context, chosen = torch.randn(4, LENGTH, DIM), torch.randn(2, PLACES, WIDTH), torch.tensor([1, 1, 3, 2])
    context = context.repeat_interleave(2, dim=0)
    cache = Cache()
    trunk(x[:, :-1], mask=masks.causal(LENGTH - 1, x.device), context=context, cache=cache)
    cache.rows(chosen)
    last = trunk(x[chosen, -1:], context=context[chosen], cache=cache)
    at_once = trunk(x[chosen], mask=masks.causal(LENGTH, x.device), context=context[chosen])
    torch.testing.assert_close(last, at_once[:, -1:])


def test_a_role_has_a_self_attention_of_its_own_and_shares_the_rest() -> None:
    trunk = scattered(Trunk(DIM, 1, HEADS, context_dim=WIDTH, roles=("self", "decode")))
    x, context = torch.randn(ROWS, LENGTH, DIM), torch.randn(ROWS, PLACES, WIDTH)
    alone = {name: trunk(x, context=context, role=name) for name in ("self", "decode")}
    assert not torch.allclose(alone["self"], alone["decode"])
    block = trunk.blocks[0]
    for parts in (block.attention, block.attention_norm):
        parts["decode"].load_state_dict(parts["self"].state_dict())
    torch.testing.assert_close(trunk(x, context=context, role="decode"), alone["self"])


def test_a_pool_has_as_many_answers_as_queries_whatever_the_order_of_what_it_looks_at() -> None:
    pool = scattered(AttentionPool(WIDTH, DIM, queries=2, heads=HEADS))
    states = torch.randn(ROWS, PLACES, WIDTH)
    pooled = pool(states)
    assert pooled.shape == (ROWS, 2, DIM) and not torch.allclose(pooled[:, 0], pooled[:, 1])
    torch.testing.assert_close(pool(states.flip(1)), pooled)
