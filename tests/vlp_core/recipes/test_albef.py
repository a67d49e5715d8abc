"""ALBEF against torchmultimodal's, with the same weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchmultimodal.models.albef.image_encoder import ALBEFVisionEncoder
from torchmultimodal.models.albef.model import ALBEFModel, ALBEFModelWithSimilarity
from torchmultimodal.models.albef.multimodal_encoder import ALBEFMultimodalEncoder
from torchmultimodal.modules.encoders.bert_text_encoder import bert_text_encoder
from torchmultimodal.modules.losses.albef import ImageTextContrastiveLoss

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.interop.torchmultimodal import albef
from vlp_core.objectives.momentum_contrastive import MomentumContrastive
from vlp_core.recipes.albef import ALBEF
from vlp_core.system import System
from vlp_core.vocabulary import there

SEEN, READ, HEADS, SIZE, PATCH, QUEUE, ROWS = 24, 24, 4, 32, 8, 12, 4
GIVEN = batch(ROWS, size=SIZE, same={2: 0})


def reference() -> ALBEFModelWithSimilarity:
    """Random weights in all of it, with a momentum model far from the model and no bias of 0 to hide a mistake."""
    torch.manual_seed(0)
    model = ALBEFModel(
        ALBEFVisionEncoder(SIZE, PATCH, 3, HEADS, SEEN, 4 * SEEN),
        bert_text_encoder(READ, 2, HEADS, 4 * READ, 0.0, vocab_size=WORDS.size, max_position_embeddings=WORDS.length),
        ALBEFMultimodalEncoder(READ, 2, HEADS, 4 * READ),
    )
    built = ALBEFModelWithSimilarity(model, nn.Linear(SEEN, 256), nn.Linear(READ, 256), 256, QUEUE)
    for name, parameter in built.named_parameters():
        if name != "temp":
            parameter.data += 0.1 * torch.randn_like(parameter)
    # Rows of the queue that are of pictures in the batch, and of others.
    built.idx_queue = torch.arange(100, 100 + QUEUE)[None]
    built.idx_queue[0, [3, 7]] = torch.tensor([0, 3])
    return built.eval()


def ours(theirs: ALBEFModelWithSimilarity) -> System:
    sizes = ALBEF(picture=(SEEN, 3, HEADS), text=(READ, 2, 2, HEADS), patch=PATCH, image_size=SIZE, queue=QUEUE)
    built = sizes.build(WORDS)
    assert built.twin is not None
    built.model.load_state_dict(albef(theirs.state_dict()))
    built.twin.twin.load_state_dict(albef(theirs.state_dict(), momentum=True))
    itc = built.objectives["itc"]
    assert isinstance(itc, MomentumContrastive)
    images, texts, ids = theirs.image_queue.T, theirs.text_queue.T, theirs.idx_queue[0]
    itc.queue.push(images=images, texts=texts, image_id=ids, text_id=ids - 1000)
    return built


@pytest.fixture(scope="module")
def pair() -> tuple[ALBEFModelWithSimilarity, System]:
    theirs = reference()
    return theirs, ours(theirs).eval()


def inputs(system: System) -> tuple[Tensor, Tensor, Tensor]:
    return system.model.normalise(GIVEN.pixels), GIVEN.tokens, there(GIVEN.tokens, WORDS.end)


@torch.no_grad()
@pytest.mark.parametrize("momentum", [False, True])
def test_states_are_those_of_torchmultimodal(pair: tuple[ALBEFModelWithSimilarity, System], momentum: bool) -> None:
    theirs, system = pair
    pixels, tokens, mask = inputs(system)
    which = "_m" if momentum else ""
    image, text, fusion = (
        getattr(theirs.albef_model, f"{part}_encoder{which}") for part in ("vision", "text", "multimodal")
    )
    seen, read = image(pixels), text(tokens, mask).last_hidden_state
    fused = fusion(hidden_states=read, attention_mask=mask, encoder_hidden_states=seen)
    view = system.view(GIVEN)
    view = view.twin if momentum else view
    torch.testing.assert_close(view.image().states, seen, atol=1e-4, rtol=0)
    torch.testing.assert_close(view.text().states[mask], read[mask], atol=1e-4, rtol=0)
    torch.testing.assert_close(view.fused().text[mask], fused[mask], atol=1e-4, rtol=0)


@pytest.mark.parametrize("epoch", [0.0, 0.25, 3.0])
def test_the_contrastive_loss_and_its_gradients_are_torchmultimodals(epoch: float) -> None:
    """With a queue that holds some of the batch's pictures, one of them there twice, and a twin that moves first."""
    theirs = reference()
    system = ours(theirs).train()
    pixels, tokens, mask = inputs(system)
    found = theirs(pixels, tokens, mask, GIVEN.image_id)
    similar = found.similarity
    alpha = 0.4 * min(1.0, epoch)
    expected = ImageTextContrastiveLoss()(
        similar.sim_i2t, similar.sim_t2i, similar.sim_i2t_m, similar.sim_t2i_m, found.sim_targets, alpha
    )
    for twin in system.twins:
        twin.update()
    loss = system.objectives["itc"](system.view(replace(GIVEN, epoch=epoch)))
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)

    expected.backward()
    loss.backward()
    queue = system.objectives["itc"].queue
    align = system.model.align
    for mine, other in ((align.image, theirs.vision_proj), (align.text, theirs.text_proj)):
        torch.testing.assert_close(mine.weight.grad, other.weight.grad, atol=1e-5, rtol=1e-3)
    # They learn a temperature and we the logarithm of its inverse.
    torch.testing.assert_close(align.scale.logarithm.grad[0], -theirs.temp.grad * theirs.temp, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(queue.images, theirs.image_queue.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(queue.texts, theirs.text_queue.T, atol=1e-6, rtol=0)
    assert torch.equal(queue.image_id, theirs.idx_queue[0])


def test_the_twins_answers_are_among_the_targets_and_it_shares_its_table_with_its_head() -> None:
    """0.4 of the loss after an epoch, half of that halfway through it."""
    system = ours(reference()).eval()
    assert system.twin is not None
    mlm, view = system.objectives["mlm"], system.view(GIVEN)
    logits, targets = mlm.predict(view)
    hard = nn.functional.cross_entropy(logits, targets)
    head = system.twin.of(mlm.head)
    assert head.scores.weight is system.twin.twin.text.embed.word.weight
    states = view.twin.fused(words=mlm.masking).text[view.words(mlm.masking).targets >= 0]
    soft = -(head(states).softmax(dim=-1) * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
    assert abs(soft - hard) > 0.01, "the share would not show"
    for epoch, share in ((0.5, 0.2), (3.0, 0.4)):
        loss = mlm(system.view(replace(GIVEN, epoch=epoch)))
        torch.testing.assert_close(loss, (1 - share) * hard + share * soft)


@pytest.mark.parametrize(("temperature", "scale"), [(0.0001, 1000.0), (0.07, 1 / 0.07), (3.0, 2.0)])
def test_the_temperature_is_held_between_a_thousandth_and_a_half(temperature: float, scale: float) -> None:
    system = ours(reference())
    system.model.align.scale.logarithm.data.fill_(1 / temperature).log_()
    assert system.model.scale().item() == pytest.approx(scale, rel=1e-5)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_the_image_encoder_may_be_one_of_timms_by_name(name: str) -> None:
    system = ALBEF(image=name, picture=(48, 1, 1), text=(32, 1, 1, 4), image_size=64, queue=8).build(WORDS)
    losses = system(batch(3))
    assert losses["loss"].isfinite()
