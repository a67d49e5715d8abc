"""The lower half of a decoder: who sees whom, and what is kept while a text is written."""

import pytest
import torch
from torch import nn

from tests.vlp_core.recipes.builders import END, PAD, START, WORDS
from vlp_core.encoders.unimodal import UnimodalDecoder
from vlp_core.encoders.words import WordEmbed
from vlp_core.nn.blocks import Cache

TEXTS = torch.tensor([[START, 10, 11, 12, END], [START, 13, END, PAD, PAD]])


@pytest.fixture
def decoder() -> UnimodalDecoder:
    torch.manual_seed(0)
    built = UnimodalDecoder(WordEmbed(16, WORDS, normalise=False), 2, 2)
    with torch.no_grad():
        for parameter in built.parameters():
            nn.init.normal_(parameter, std=0.5)
    return built.eval()


@torch.no_grad()
@pytest.mark.parametrize("place", [1, 2, 3])
def test_words_see_no_later_word_and_the_whole_sees_all(decoder: UnimodalDecoder, place: int) -> None:
    other = TEXTS.clone()
    other[0, place] = 20
    read, changed = decoder(TEXTS), decoder(other)
    torch.testing.assert_close(changed.states[0, :place], read.states[0, :place])
    assert not torch.allclose(changed.states[0, place:], read.states[0, place:], atol=1e-3)
    assert not torch.allclose(changed.first[0], read.first[0], atol=1e-3)


@torch.no_grad()
def test_the_whole_of_a_text_does_not_depend_on_its_padding(decoder: UnimodalDecoder) -> None:
    torch.testing.assert_close(decoder(TEXTS[1:, :3]).first, decoder(TEXTS).first[1:])


@torch.no_grad()
def test_a_text_read_step_by_step_has_the_states_of_the_text_read_at_once(decoder: UnimodalDecoder) -> None:
    cache, tokens = Cache(), TEXTS[:1]
    steps = [decoder(tokens[:, i : i + 1], cache=cache).states for i in range(tokens.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), decoder(tokens).states)
