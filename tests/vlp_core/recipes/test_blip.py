"""BLIP gives transformers' numbers with transformers' weights."""

import pytest
import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval

from tests.vlp_core.recipes.builders import DECODE, ENCODE, END, PAD, WORDS, batch
from vlp_core.errors import UserError
from vlp_core.generate import Greedy, generate
from vlp_core.interop import from_transformers
from vlp_core.recipes.blip import BLIP
from vlp_core.system import System

SIZE, SEEN, DIM = 32, 48, 32
GIVEN = batch(5, size=SIZE, longest=12)


def theirs(kind: type[nn.Module]) -> nn.Module:
    """A small model whose weights are all random, biases and norms too."""
    torch.manual_seed(0)
    config = BlipConfig(
        vision_config={
            "hidden_size": SEEN, "intermediate_size": 4 * SEEN, "num_hidden_layers": 2, "num_attention_heads": 3,
            "image_size": SIZE, "patch_size": 8, "layer_norm_eps": 1e-6,
        },
        text_config={
            "vocab_size": WORDS.size, "hidden_size": DIM, "intermediate_size": 4 * DIM, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": WORDS.length, "label_smoothing": 0.1,
            "bos_token_id": DECODE, "pad_token_id": PAD, "sep_token_id": END, "eos_token_id": END,
        },
        image_text_hidden_size=256,
    )  # fmt: skip
    model = kind(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * 0.3 + norm)
    return model.eval()


def ours(model: nn.Module) -> System:
    """The recipe's system with the model's weights, and its own where the model has none."""
    system = BLIP(picture=(SEEN, 2, 3), text=(DIM, 3, 4), patch=8, image_size=SIZE, queue=8).build(WORDS)
    system.load_finished({**system.finished(), **from_transformers(model)}, origin="transformers")
    return system.eval()


def beginning(first: int) -> Tensor:
    return torch.cat([torch.full_like(GIVEN.tokens[:, :1], first), GIVEN.tokens[:, 1:]], dim=1)


@torch.no_grad()
def test_retrieval_gives_the_similarities_and_matches_of_transformers() -> None:
    reference = theirs(BlipForImageTextRetrieval)
    system = ours(reference)
    view, there = system.view(GIVEN), (GIVEN.tokens != PAD).long()
    similarity = reference(GIVEN.tokens, view.pixels(), use_itm_head=False, attention_mask=there).itm_score
    torch.testing.assert_close(view.image_vectors() @ view.text_vectors().T, similarity, atol=1e-4, rtol=0)
    matches = reference(beginning(ENCODE), view.pixels(), attention_mask=there).itm_score
    found = system.objectives["itm"].head(view.fused().pooled)
    torch.testing.assert_close(found, matches, atol=1e-4, rtol=0)
    assert matches.std(dim=0).min() > 1e-2


@torch.no_grad()
def test_captioning_gives_the_logits_and_the_loss_of_transformers() -> None:
    reference = theirs(BlipForConditionalGeneration)
    system = ours(reference)
    view, written = system.view(GIVEN), beginning(DECODE)
    there = GIVEN.tokens != PAD
    expected = reference(view.pixels(), written, attention_mask=there.long(), labels=written.masked_fill(~there, -100))
    logits, following = system.objectives["lm"].predict(view)
    known = following != -100
    torch.testing.assert_close(logits[known], expected.logits[:, :-1][known], atol=1e-4, rtol=0)
    torch.testing.assert_close(system(GIVEN)["lm"], expected.loss, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_captions_are_those_that_transformers_writes() -> None:
    reference = theirs(BlipForConditionalGeneration)
    system = ours(reference)
    pixels = system.model.normalise(GIVEN.pixels)
    barred = sorted(WORDS.special - {END})
    expected = reference.generate(pixels, do_sample=False, num_beams=1, max_length=9, suppress_tokens=barred)
    found = generate(system, GIVEN.pixels, strategy=Greedy(), longest=10)
    assert found[:, 1:9].tolist() == expected[:, 1:9].tolist()
    assert len(set(map(tuple, found.tolist()))) > 1


def test_encoder_and_decoder_share_all_but_self_attention() -> None:
    """What the one task trains the other has, and the decoder's self-attention does not change what is matched."""
    system = BLIP(picture=(SEEN, 1, 3), text=(DIM, 2, 4), patch=8, image_size=SIZE, queue=8).build(WORDS)
    reached = {name: touched(system, name) for name in system.objectives}
    trunk = {name for name in reached["itm"] | reached["lm"] if name.startswith("model.fusion")}
    own = {name for name in trunk if ".attention" in name}
    assert trunk - own <= reached["itm"] & reached["lm"]
    assert {name for name in own if ".decode." in name} == own - reached["itm"] == own & reached["lm"]
    assert not {name for name in reached["itc"] if ".cross" in name or ".decode." in name}


def touched(system: System, objective: str) -> set[str]:
    system.zero_grad()
    system(GIVEN)[objective].backward()
    return {name for name, parameter in system.named_parameters() if parameter.grad is not None}


def test_models_of_other_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"^Linear: "):
        from_transformers(nn.Linear(1, 1))
