"""UFO: one transformer in three roles and under two masks. There is no reference to compare with, so what must hold."""

from dataclasses import replace

import pytest
import torch

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.batch import Batch
from vlp_core.recipes.ufo import UFO
from vlp_core.system import System

GIVEN = batch(4, size=32, longest=12)
LENGTH = GIVEN.tokens.shape[1]


@pytest.fixture(scope="module")
def system() -> System:
    torch.manual_seed(0)
    built = UFO(trunk=(24, 2, 2), patch=16, image_size=32, space=8).build(WORDS).eval()
    for parameter in built.parameters():  # fresh weights are so small that a leak could pass for rounding
        parameter.data += 0.1 * torch.randn_like(parameter)
    return built


def with_word(place: int) -> Batch:
    """Other words at this place, wherever there are words."""
    tokens = GIVEN.tokens.clone()
    inside = tokens[:, place] > max(WORDS.special)
    tokens[inside, place] = (tokens[inside, place] - 7 + 5) % 53 + 7
    assert inside.any()
    return replace(GIVEN, tokens=tokens)


@torch.no_grad()
@pytest.mark.parametrize("place", range(1, 8))
def test_under_the_prefix_mask_a_word_is_seen_by_itself_and_those_after_it_alone(system: System, place: int) -> None:
    before, after = (system.view(each).fused(attention="prefix") for each in (GIVEN, with_word(place)))
    changed = (before.text != after.text).any(dim=2)
    assert torch.equal(before.image, after.image)
    assert not changed[:, :place].any()
    assert changed[:, place].any()


@torch.no_grad()
def test_under_the_full_mask_everything_sees_every_word(system: System) -> None:
    before, after = (system.view(each).fused() for each in (GIVEN, with_word(1)))
    there = before.text_mask & (GIVEN.tokens[:, 1:2] > max(WORDS.special))
    assert (before.text != after.text).any(dim=2)[there].all()
    assert (before.image != after.image).any(dim=2)[there.any(dim=1)].all()


@torch.no_grad()
@pytest.mark.parametrize("attention", ["full", "prefix"])
def test_words_see_the_picture_and_vectors_of_one_modality_do_not_see_the_other(system: System, attention: str) -> None:
    other = replace(GIVEN, pixels=255 - GIVEN.pixels)
    first, second = system.view(GIVEN), system.view(other)
    text, changed = (view.fused(attention=attention).text for view in (first, second))
    assert (text != changed).any(dim=2).all()
    assert torch.equal(first.text_vectors(), second.text_vectors())
    assert torch.equal(first.image_vectors(), system.view(with_word(1)).image_vectors())


def test_one_trunk_and_one_head_serve_all_roles(system: System) -> None:
    """Each objective alone moves all of the trunk, and both kinds of masked words the same head."""
    assert system.objectives["mlm"].head is system.objectives["prefix_mlm"].head
    for name, objective in system.objectives.items():
        system.zero_grad()
        objective(system.view(GIVEN)).backward()
        trunk = system.model.fusion.trunk
        assert all(weight.grad is not None and weight.grad.any() for weight in trunk.parameters()), name


@torch.no_grad()
def test_rows_in_another_order_give_the_same_losses(system: System) -> None:
    order = torch.tensor([2, 0, 3, 1])
    fields = {name: getattr(GIVEN, name)[order] for name in ("pixels", "tokens", "image_id", "text_id", "key")}
    turned = replace(GIVEN, uid=[GIVEN.uid[row] for row in order], **fields)
    first, second = system(GIVEN), system(turned)
    for name in ("itc", "mlm", "prefix_mlm"):  # which negatives are drawn depends on where the others stand
        torch.testing.assert_close(first[name], second[name])
