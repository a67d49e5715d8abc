"""Decoders over pictures: step by step they say what they say at once, and each direction has one of its own."""

import pytest
import torch
from torch import nn

from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.fusion.cross_decoder import CrossDecoder
from vlp_core.fusion.two_way import TwoWay
from vlp_core.nn.blocks import Cache, Trunk
from vlp_core.sequence import Sequence

DIM, HEADS, ROWS, LENGTH, PLACES = 12, 3, 3, 5, 4


def crossing() -> CrossAttention:
    return CrossAttention(Trunk(DIM, 2, HEADS, norm="post", context_dim=DIM))


DECODERS = {
    "by turns": lambda: CrossDecoder(DIM, 2, HEADS),
    "in one block": crossing,
    "in two directions": lambda: TwoWay(crossing(), crossing(), image_dim=DIM),
}
EACH = pytest.mark.parametrize("kind", DECODERS)


def decoder(kind: str) -> nn.Module:
    torch.manual_seed(0)
    built = DECODERS[kind]()
    with torch.no_grad():
        for parameter in built.parameters():
            nn.init.normal_(parameter, std=0.5)
    return built.eval()


def pair() -> tuple[Sequence, Sequence]:
    """Pictures, one of which has a place that is none, and texts."""
    draw = torch.Generator().manual_seed(1)
    places, words = (torch.randn(ROWS, count, DIM, generator=draw) for count in (PLACES, LENGTH))
    seen = torch.ones(ROWS, PLACES, dtype=torch.bool)
    seen[1, -1] = False
    return Sequence(places, seen), Sequence(words)


@EACH
@torch.no_grad()
def test_a_text_written_step_by_step_is_the_text_read_at_once(kind: str) -> None:
    built, (image, text) = decoder(kind), pair()
    cache = Cache()
    steps = [built(image, Sequence(part), "causal", cache=cache).text for part in text.states.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), built(image, text, "causal").text)


@EACH
@torch.no_grad()
def test_words_see_what_came_before_and_the_picture_and_nothing_else(kind: str) -> None:
    built, (image, text) = decoder(kind), pair()
    found = built(image, text, "causal").text
    later = text.states.clone()
    later[:, 3] += 1
    torch.testing.assert_close(built(image, Sequence(later), "causal").text[:, :3], found[:, :3])
    places = image.states.clone()
    places[:, -1] += torch.randn(DIM, generator=torch.Generator().manual_seed(2))
    looked = built(Sequence(places, image.mask), text, "causal").text
    torch.testing.assert_close(looked[1], found[1])
    assert not torch.allclose(looked[0], found[0], atol=1e-3)


@torch.no_grad()
def test_either_direction_has_a_decoder_of_its_own() -> None:
    built, (image, text) = decoder("in two directions"), pair()
    before = {direction: built(image, text, direction).text for direction in ("causal", "backward")}
    nn.init.normal_(built.back.trunk.blocks[0].cross.output.weight)
    after = {direction: built(image, text, direction).text for direction in ("causal", "backward")}
    assert torch.equal(after["causal"], before["causal"])
    assert not torch.allclose(after["backward"], before["backward"], atol=1e-3)
