"""What is written must be what the model finds likely, whichever way it is computed."""

import math

import pytest
import torch

from tests.vlp_core.generate.builders import (
    DECODE,
    END,
    LONGEST,
    MASK,
    PAD,
    START,
    all_texts,
    likelihood,
    pictures,
    vocabulary,
    writing,
)
from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.errors import UserError
from vlp_core.generate import Beam, Greedy, Nucleus, Writer, generate
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.system import System

KINDS = pytest.mark.parametrize("kind", ["embedded", "encoded"])
KEYS = torch.arange(6) * 7919
STRATEGIES = [Greedy(), Beam(width=3), Beam(width=4, penalty=0.0), Nucleus(KEYS, 0.9)]
STRATEGY = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda found: type(found).__name__)
LONG = 12


@KINDS
@STRATEGY
def test_the_cache_changes_no_token(kind, strategy):
    system, pixels = writing(kind, vocabulary(20, length=LONG)), pictures(6)
    kept = generate(system, pixels, strategy=strategy)
    assert kept.shape[1] > 3
    assert torch.equal(kept, generate(system, pixels, strategy=strategy, cached=False))


@KINDS
@STRATEGY
@pytest.mark.parametrize("decode", [True, False])
def test_a_caption_is_start_words_end_and_padding(kind, strategy, decode):
    texts = generate(
        writing(kind, vocabulary(20, decode=decode, length=LONG)), pictures(6), strategy=strategy, longest=9
    )
    assert texts.shape[1] <= 9
    for text in texts.tolist():
        end = text.index(END)
        assert text[0] == START
        assert not {PAD, START, END, MASK, DECODE} & set(text[1:end])
        assert set(text[end + 1 :]) <= {PAD}


def test_texts_of_a_batch_end_where_they_would_alone():
    """A row that is finished stays so while others go on, and none depends on what stands beside it."""
    system, pixels = writing("embedded", vocabulary(20, length=LONG)), pictures(6)
    for strategy in (Greedy(), Beam(width=3), Beam(width=3, penalty=0.0)):
        together = generate(system, pixels, strategy=strategy)
        assert len(set((together == END).int().argmax(dim=1).tolist())) > 1
        for row, text in enumerate(together):
            (one,) = generate(system, pixels[row : row + 1], strategy=strategy)
            assert text.tolist() == one.tolist() + [PAD] * (len(text) - len(one))


@KINDS
def test_a_beam_of_one_is_greedy(kind):
    system, pixels = writing(kind, vocabulary(20, length=LONG)), pictures(8)
    assert torch.equal(generate(system, pixels, strategy=Beam(width=1)), generate(system, pixels, strategy=Greedy()))


@KINDS
@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_beam_that_drops_nothing_finds_the_best_of_all_texts(kind, penalty, seed):
    words = vocabulary()
    system, texts, pixels = writing(kind, words, seed), all_texts(words), pictures(4)
    found, scores = Beam(width=len(texts), penalty=penalty).search(Writer(system, pixels))
    for row in range(len(pixels)):
        every = likelihood(system, pixels[row : row + 1].expand(len(texts), -1, -1, -1), texts)
        best = (every / (texts != PAD).sum(dim=1).sub(1) ** penalty).argmax()
        assert found[row].tolist() == texts[best, : found.shape[1]].tolist()
        assert scores[row].item() == pytest.approx(every[best].item(), abs=1e-4)


@KINDS
def test_wider_beams_find_texts_no_worse_than_greedy_on_the_whole(kind):
    system, pixels = writing(kind, vocabulary(20, length=LONG), seed=1), pictures(16)
    greedy, beam = (Beam(width=width, penalty=0.0).search(Writer(system, pixels)) for width in (1, 5))
    assert beam[1].mean() >= greedy[1].mean()
    assert (beam[1] > greedy[1] + 1e-4).any()
    torch.testing.assert_close(beam[1], likelihood(system, pixels, beam[0]), atol=1e-4, rtol=1e-4)


def test_a_nucleus_is_the_smallest_set_that_holds_p():
    draws, p = 4000, 0.7
    scores = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)).mul(2).log_softmax(dim=1)
    for row in scores:
        chance = row.exp()
        inside, mass = [], 0.0
        for token in sorted(range(12), key=lambda token: -chance[token].item()):
            if mass >= p:
                break
            inside.append(token)
            mass += chance[token].item()
        drawn = Nucleus(torch.arange(draws), p).choose(row.expand(draws, -1), 1)
        for token in range(12):
            expected = chance[token].item() / mass if token in inside else 0.0
            error = 5 * math.sqrt(expected * (1 - expected) / draws)
            assert (drawn == token).float().mean().item() == pytest.approx(expected, abs=error + 1e-9)


def test_nuclei_are_drawn_by_the_samples_keys():
    system, pixels = writing("embedded", vocabulary(20, length=LONG)), pictures(6)
    turned = torch.tensor([3, 5, 0, 1, 4, 2])
    texts = generate(system, pixels, strategy=Nucleus(KEYS))
    assert torch.equal(generate(system, pixels[turned], strategy=Nucleus(KEYS[turned])), texts[turned])
    others = generate(system, pixels, strategy=Nucleus(KEYS + 1))
    assert texts.tolist() != others.tolist()


def test_dropout_is_off_while_writing_and_on_again_after():
    system = writing("embedded", vocabulary()).train()
    generate(system, pictures(2))
    assert system.training and system.model.fusion.training


@STRATEGY
def test_scores_that_are_not_numbers_are_not_written_by(strategy):
    system = writing("embedded", vocabulary())
    system.objectives["lm"].head.scores.bias.data[5] = math.nan
    with pytest.raises(UserError, match=r"not numbers.*earlier checkpoint"):
        generate(system, pictures(6), strategy=strategy)


@pytest.mark.parametrize("longest", [1, LONGEST + 1])
def test_lengths_that_no_text_can_have_are_refused(longest):
    with pytest.raises(UserError, match=f"from 2 .* to {LONGEST}"):
        generate(writing("embedded", vocabulary()), pictures(1), longest=longest)


@pytest.mark.parametrize(
    "make", [lambda: Beam(width=0), lambda: Beam(penalty=-1.0), lambda: Nucleus(KEYS, 0.0), lambda: Nucleus(KEYS, 1.1)]
)
def test_strategies_that_cannot_choose_are_refused(make):
    with pytest.raises(UserError, match="give"):
        make()


def test_a_system_that_writes_nothing_is_refused():
    system = writing("embedded", vocabulary())
    with pytest.raises(UserError, match="captioning objective"):
        generate(System(system.model, {"itm": torch.nn.Identity()}), pictures(1))


@pytest.mark.parametrize("name", ["blip", "coca", "virtex"])
def test_recipes_that_write_do_so_alike_with_and_without_the_cache(name):
    """Their weights are drawn wider than at first, so that captions differ from picture to picture."""
    torch.manual_seed(0)
    recipe = RECIPES[name].TINY.system
    system = recipe.build(WORDS)
    for parameter in system.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    given = batch(4, size=recipe.image_size)
    for strategy in (Beam(), Nucleus(given.key)):
        texts = generate(system, given.pixels, strategy=strategy)
        assert torch.equal(texts, generate(system, given.pixels, strategy=strategy, cached=False))
        assert (texts[:, 0] == WORDS.start).all() and (texts == WORDS.end).any(dim=1).all()
        assert len(set(map(tuple, texts.tolist()))) > 1
