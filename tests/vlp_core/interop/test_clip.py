import pytest
import torch
from transformers import (
    BlipTextConfig,
    BlipVisionConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    PretrainedConfig,
)

from tests.vlp_core.interop import builders
from tests.vlp_core.train.builders import SMALL, VOCABULARY
from vlp_core.interop import blip, clip, from_transformers
from vlp_core.recipes.clip import CLIP


@torch.no_grad()
def test_transformers_clip_gives_its_embeddings_and_logits_here():
    theirs = builders.clip(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512)
    sizes = CLIP(
        image_size=32, patch=16, vision_width=128, vision_layers=2, text_width=32, text_layers=1, text_heads=1,
        embed_dim=32, context=8)  # fmt: skip
    system = sizes.build(VOCABULARY).eval()
    system.load_finished(from_transformers(theirs), origin="transformers")
    pixels, tokens = torch.randn(4, 3, 32, 32), torch.randint(1, 49_407, (4, 8))
    tokens[range(4), [3, 7, 5, 6]] = 49_407  # where a text ends
    expected = theirs(tokens, pixels)
    images, texts = system.model.encode_image(pixels), system.model.encode_text(tokens)
    torch.testing.assert_close(images, expected.image_embeds, atol=1e-4, rtol=0)
    torch.testing.assert_close(texts, expected.text_embeds, atol=1e-4, rtol=0)
    logits = system.model.scale() * images @ texts.T
    torch.testing.assert_close(logits, expected.logits_per_image, atol=1e-4, rtol=0)
    assert logits.std() > 1e-2 and SMALL.context == 8


@pytest.mark.parametrize(
    ("sizes", "config"),
    [
        (clip.PICTURE_SIZES | clip.ACTIVATION, CLIPVisionConfig),
        (clip.TEXT_SIZES | clip.ACTIVATION, CLIPTextConfig),
        (blip.PICTURE_SIZES, BlipVisionConfig),
        (blip.TEXT_SIZES, BlipTextConfig),
    ],
)
def test_what_a_configuration_leaves_out_is_what_transformers_takes(sizes: dict, config: type[PretrainedConfig]):
    given = config().to_dict()
    assert sizes == {name: given[name] for name in sizes}
