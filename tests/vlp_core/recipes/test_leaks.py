"""No system sees what it may not: what stands after a text, words that come later, what is hidden."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.vlp_core.recipes.builders import WORDS
from tests.vlp_core.recipes.systems import ALL, awake, batch_of, needs, objectives, system, vocabulary
from vlp_core.batch import Batch
from vlp_core.objectives.captioning import BACKWARD, Captioning, Reversed
from vlp_core.objectives.masked_image import MaskedImage
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.sizes import outline
from vlp_core.system import System
from vlp_core.view import IGNORE, RandomPlaces, View
from vlp_core.vocabulary import there

FIRST, CONTINUING = 7, min(WORDS.continuing)  # of the words that begin, and of those that go on
PLACE = 3


def recipes_with(kind: Callable[[System], object]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name in RECIPES if kind(outline(RECIPES[name].TINY.system))])


def other_words(tokens: Tensor) -> Tensor:
    """Another word for each, which begins one where that did."""
    begins = (tokens - FIRST + 5) % (CONTINUING - FIRST) + FIRST
    goes_on = (tokens - CONTINUING + 5) % (WORDS.size - CONTINUING) + CONTINUING
    return torch.where(tokens < FIRST, tokens, torch.where(tokens < CONTINUING, begins, goes_on))


@ALL
@torch.no_grad()
def test_what_stands_after_a_text_changes_nothing(name: str) -> None:
    """Neither further padding nor what it is."""
    given, known, built = batch_of(name, 5), vocabulary(name), system(name).eval()
    tokens = given.tokens
    if not needs(name).fixed:
        tokens = torch.cat([tokens, tokens.new_full((5, 3), known.pad)], dim=1)
    filled = torch.where(there(tokens, known.end), tokens, FIRST if known.mask is None else known.mask)
    assert (filled != tokens).any(dim=1).all()
    expected = built(given)
    for padded in (tokens, filled):
        for objective, loss in built(replace(given, tokens=padded)).items():
            torch.testing.assert_close(loss, expected[objective], atol=1e-5, rtol=1e-5)


def written(built: System) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, head and attention of each objective that asks for words by those before them."""
    for name, objective in objectives(built):
        if isinstance(objective, Captioning):
            yield from ((name, objective.head, direction) for direction in objective.directions)
        elif isinstance(objective, MaskedLanguage) and objective.attention != "full":
            yield name, objective.head, objective.attention


@recipes_with(lambda built: list(written(built)))
@torch.no_grad()
def test_a_later_token_changes_no_earlier_logit(name: str) -> None:
    built, given = awake(name), batch_of(name, 5, longest=12)
    for objective, head, attention in written(built):
        turn = Reversed() if attention == BACKWARD else None
        tokens = in_turn(given.tokens, turn)
        later = torch.cat([tokens[:, :PLACE], other_words(tokens[:, PLACE:])], dim=1)
        assert (later != tokens)[:, PLACE].any()
        views = [built.view(replace(given, tokens=in_turn(each, turn))) for each in (tokens, later)]
        before, after = (head(view.fused(words=turn, attention=attention).text) for view in views)
        leaked = not torch.allclose(before[:, :PLACE], after[:, :PLACE], atol=1e-5, rtol=1e-5)
        assert not leaked, f"{objective} sees words that come later"
        assert not torch.allclose(before[:, PLACE], after[:, PLACE], atol=1e-3), f"{objective} does not see its words"


def in_turn(tokens: Tensor, turn: Reversed | None) -> Tensor:
    """Texts as they are read; read so twice they are as they were."""
    return tokens if turn is None else turn.apply(tokens, tokens[:, 0], WORDS, None).tokens  # type: ignore[arg-type]


def hides(built: System) -> list[nn.Module]:
    return [part for _, part in objectives(built) if isinstance(part, MaskedLanguage | MaskedImage)]


@recipes_with(hides)
@torch.no_grad()
def test_what_is_hidden_does_not_tell(name: str) -> None:
    """Answers stay as they are where other words stand under [MASK], or other pixels in hidden places."""
    built, given = awake(name), batch_of(name, 6, longest=12)
    for objective in hides(built):
        before = built.view(given)
        if isinstance(objective, MaskedLanguage):
            masked = before.words(objective.masking)
            hidden = (masked.targets != IGNORE) & (masked.tokens == WORDS.mask)
            other = replace(given, tokens=torch.where(hidden, other_words(given.tokens), given.tokens))
            after = built.view(with_other_pixels(before, other, objective.image))
            (said, asked), (says, asks) = objective.predict(before), objective.predict(after)
            assert not torch.equal(asked, asks)
        else:
            after = built.view(with_other_pixels(before, given, objective.hidden))
            said, says = (
                objective.decoder(
                    view.fused(words=objective.words, image=objective.hidden).image, view.places(objective.hidden)[0]
                )
                for view in (before, after)
            )
        torch.testing.assert_close(says, said, atol=1e-5, rtol=1e-5)


def with_other_pixels(view: View, given: Batch, change: RandomPlaces | None) -> Batch:
    if change is None:
        return given
    pixels, side = given.pixels.clone(), given.pixels.shape[-1]
    count = round(view.model.places**0.5)
    step = side // count
    for row, places in enumerate(view.places(change)[1].tolist()):
        for y, x in (divmod(place, count) for place in places):
            part = pixels[row, :, y * step : (y + 1) * step, x * step : (x + 1) * step]
            part.copy_(255 - part)
    assert not torch.equal(pixels, given.pixels)
    return replace(given, pixels=pixels)
