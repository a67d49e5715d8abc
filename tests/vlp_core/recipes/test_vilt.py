"""ViLT against transformers', with the same weights."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import ViltConfig, ViltForImageAndTextRetrieval, ViltForMaskedLM

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.interop import from_transformers
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.recipes.vilt import ViLT
from vlp_core.system import System
from vlp_core.view import View
from vlp_core.vocabulary import there

VOCABULARY = replace(WORDS, decode=None, encode=None)
SIZES = ViLT(trunk=(32, 3, 4), patch=8, image_size=32)
GIVEN = batch(6, size=32, longest=12)


def reference(kind: type) -> torch.nn.Module:
    """Random weights in all of it, with no bias of 0 and no norm of 1 to hide a mistake."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    built = kind(
        ViltConfig(
            **sizes, image_size=32, patch_size=8, vocab_size=VOCABULARY.size, max_position_embeddings=VOCABULARY.length
        )
    )
    for parameter in built.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return built.eval()


def ours(theirs: torch.nn.Module) -> tuple[System, View]:
    system = SIZES.build(VOCABULARY).eval()
    lacking = system.load_state_dict(from_transformers(theirs), strict=False)
    assert not lacking.unexpected_keys
    assert all(name.startswith("objectives.") for name in lacking.missing_keys)
    view = system.view(GIVEN)
    assert isinstance(view, View)
    return system, view


@pytest.fixture(autouse=True)
def patches_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference draws the order of the patches, which attention does not see."""
    monkeypatch.setattr(torch, "multinomial", lambda _weights, count: torch.arange(count))


@torch.no_grad()
def test_states_of_words_and_patches_and_the_pooled_one_are_the_same():
    theirs = reference(ViltForMaskedLM)
    _, view = ours(theirs)
    seen = there(GIVEN.tokens, VOCABULARY.end)
    expected = theirs.vilt(input_ids=GIVEN.tokens, attention_mask=seen.long(), pixel_values=view.pixels())
    fused, length = view.fused(), GIVEN.tokens.shape[1]
    torch.testing.assert_close(fused.text[seen], expected.last_hidden_state[:, :length][seen], atol=1e-4, rtol=0)
    torch.testing.assert_close(fused.image, expected.last_hidden_state[:, length:], atol=1e-4, rtol=0)
    torch.testing.assert_close(fused.pooled, expected.pooler_output, atol=1e-4, rtol=0)


def test_masked_words_have_the_same_logits_loss_and_gradient():
    theirs = reference(ViltForMaskedLM)
    system, view = ours(theirs)
    mlm = system.objectives["mlm"]
    assert isinstance(mlm, MaskedLanguage)
    words, seen = view.words(mlm.masking), there(GIVEN.tokens, VOCABULARY.end)
    assert (words.targets >= 0).sum() > 3
    expected = theirs(
        input_ids=words.tokens, attention_mask=seen.long(), pixel_values=view.pixels(), labels=words.targets
    )
    logits, targets = mlm.predict(view)
    torch.testing.assert_close(logits, expected.logits[words.targets >= 0], atol=1e-4, rtol=0)
    assert torch.equal(targets, words.targets[words.targets >= 0])
    loss = mlm(view)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=0)
    loss.backward()
    expected.loss.backward()
    table = theirs.vilt.embeddings.text_embeddings.word_embeddings.weight.grad
    torch.testing.assert_close(system.model.text.word.weight.grad, table, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_pairs_match_by_the_same_score():
    theirs = reference(ViltForImageAndTextRetrieval)
    system, view = ours(theirs)
    itm = system.objectives["itm"]
    pairs = view.pairs(itm.negatives)
    assert 0 < pairs.label.sum() < len(pairs.label)
    seen = there(GIVEN.tokens, VOCABULARY.end).long()
    pixels = view.pixels()[pairs.image]
    assert pairs.text is None, "whose texts stay where they are are not gathered"
    expected = theirs(input_ids=GIVEN.tokens, attention_mask=seen, pixel_values=pixels).logits
    logits, labels = itm.predict(view)
    torch.testing.assert_close(logits[:, 1:] - logits[:, :1], expected, atol=1e-4, rtol=0)
    loss = F.binary_cross_entropy_with_logits(expected[:, 0], labels.float())
    torch.testing.assert_close(itm(view), loss, atol=1e-5, rtol=0)
