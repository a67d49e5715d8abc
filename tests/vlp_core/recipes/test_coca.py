"""CoCa gives open_clip's numbers with open_clip's weights."""

from dataclasses import replace

import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss, CoCaLoss

from tests.vlp_core.recipes.builders import END, WORDS, batch
from vlp_core.batch import Batch
from vlp_core.interop.open_clip import from_open_clip
from vlp_core.recipes.coca import CoCa
from vlp_core.system import System

BYTE_PAIRS = replace(WORDS, decode=None, encode=None, mask=None)
LENGTH = BYTE_PAIRS.length


def theirs(*, vision_width: int) -> open_clip.CoCa:
    """A small CoCa whose weights are all random: biases, norms and the class token too."""
    torch.manual_seed(0)
    text = {"context_length": LENGTH, "vocab_size": BYTE_PAIRS.size, "width": 32, "heads": 4, "layers": 2}
    model = open_clip.CoCa(
        embed_dim=32,
        vision_cfg={
            "image_size": 32, "patch_size": 8, "width": vision_width, "head_width": 16, "layers": 2,
            "attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2, "output_tokens": True,
        },
        text_cfg={**text, "embed_cls": True, "output_tokens": True},
        multimodal_cfg={**text, "layers": 2},
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.copy_(torch.randn_like(parameter) * 0.1 + (parameter.ndim == 1))
    model.text.correct_cls_mask = True
    return model.eval()


def ours(model: open_clip.CoCa, *, vision_width: int) -> System:
    sizes = CoCa(picture=(vision_width, 2, vision_width // 16), text=(32, 2, 4), pool=(5, 2), patch=8, image_size=32)
    system = sizes.build(BYTE_PAIRS)
    system.load_finished(from_open_clip(model), origin="open_clip")
    return system.eval()


def padded(given: Batch) -> Batch:
    """open_clip's texts are of one length."""
    spare = LENGTH - given.tokens.shape[1]
    return replace(given, tokens=torch.nn.functional.pad(given.tokens, (0, spare), value=BYTE_PAIRS.pad))


@pytest.mark.parametrize("vision_width", [48, 32], ids=["a pool of another width", "one width"])
@torch.no_grad()
def test_features_logits_and_losses_are_those_of_open_clip(vision_width: int) -> None:
    reference = theirs(vision_width=vision_width)
    system = ours(reference, vision_width=vision_width)
    given = batch(5, size=32, longest=12)
    view = system.view(given)
    expected = reference(view.pixels(), padded(given).tokens)
    torch.testing.assert_close(view.image_vectors(), expected["image_features"], atol=1e-4, rtol=0)
    torch.testing.assert_close(view.text_vectors(), expected["text_features"], atol=1e-4, rtol=0)
    logits, _ = system.objectives["caption"].objective.predict(view)
    torch.testing.assert_close(logits, expected["logits"][:, : logits.shape[1]], atol=1e-4, rtol=0)
    contrastive, captions = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0, pad_id=BYTE_PAIRS.pad)(**expected)
    found = system(given)
    torch.testing.assert_close(found["itc"], contrastive, atol=1e-5, rtol=0)
    torch.testing.assert_close(2 * found["caption"], captions, atol=1e-5, rtol=0)
    torch.testing.assert_close(found["loss"], contrastive + captions, atol=1e-5, rtol=0)


@torch.no_grad()
def test_texts_that_fill_the_context_are_seen_alike_under_the_mask_of_published_weights() -> None:
    reference = theirs(vision_width=32)
    reference.text.correct_cls_mask = False
    tokens = torch.randint(7, BYTE_PAIRS.size, (3, LENGTH))
    tokens[:, -1] = END
    system = ours(reference, vision_width=32)
    torch.testing.assert_close(system.model.encode_text(tokens), reference.encode_text(tokens), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_clip_of_open_clips_goes_into_the_clip_recipe() -> None:
    from vlp_core.recipes.clip import CLIP

    torch.manual_seed(1)
    sizes = CLIP(image_size=32, patch=16, vision_width=64, vision_layers=1, text_width=32, text_layers=1, embed_dim=16)
    reference = open_clip.CLIP(**sizes.model_cfg(), output_dict=True).eval()
    system = sizes.build(BYTE_PAIRS).eval()
    system.load_finished(from_open_clip(reference), origin="open_clip")
    given = replace(batch(4, size=32), tokens=torch.randint(1, 40_000, (4, sizes.context)))
    expected = reference(system.model.normalise(given.pixels), given.tokens)
    loss = ClipLoss()(expected["image_features"], expected["text_features"], expected["logit_scale"])
    torch.testing.assert_close(system(given)["loss"], loss, atol=1e-5, rtol=0)
