"""Systems that start from what other libraries have trained compute what that computed."""

import json
from dataclasses import replace

import huggingface_hub
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.vlp_core.data.folders import write_images
from tests.vlp_core.interop import builders
from tests.vlp_core.interop.builders import CLIP_VIT, DEPTH, DIM, HEADS, SIZE, saved, shaken
from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.data.settings import Data
from vlp_core.data.tokens import train_word_pieces, word_numbers
from vlp_core.errors import UserError
from vlp_core.needs import OPENAI_MEAN, OPENAI_STD
from vlp_core.recipes.albef import ALBEF
from vlp_core.recipes.blip import BLIP
from vlp_core.recipes.coca import CoCa
from vlp_core.recipes.meter import METER
from vlp_core.recipes.pixelbert import PixelBERT
from vlp_core.recipes.vilt import ViLT
from vlp_core.recipes.vlc import VLC
from vlp_core.system import System
from vlp_core.tracker import Silent
from vlp_core.train.loop import train_model
from vlp_core.train.settings import Train
from vlp_core.train.start import check_start, load_start
from vlp_core.vocabulary import there

CPU = torch.device("cpu")
GIVEN = batch(5, size=SIZE, longest=12)
STACK = (DIM, DEPTH, HEADS)
METER_SMALL = METER(image=None, text=STACK, cross=1, image_size=SIZE)
ALBEF_SMALL = ALBEF(picture=STACK, text=(DIM, 2, 1, HEADS), patch=8, image_size=SIZE, queue=8)
TIMMS_SMALL = replace(ALBEF_SMALL, image="test_vit", picture=(64, 0, 0))
BLIP_SMALL = BLIP(picture=STACK, text=STACK, patch=8, image_size=SIZE, queue=8)
VILT_SMALL = ViLT(trunk=STACK, patch=8, image_size=SIZE)
CLIP_OF = {"patch": 8, **builders.STACK}


def started(sizes, *start: str, pieces: dict[str, int] | None = None) -> System:
    torch.manual_seed(1)
    system = sizes.build(WORDS)
    load_start(system, start, "any", CPU, pieces)
    return system.eval()


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 5e-3


@pytest.mark.parametrize(("sizes", "patch"), [(METER_SMALL, 16), (ALBEF_SMALL, 8), (BLIP_SMALL, 8)])
@torch.no_grad()
def test_a_vit_sees_what_it_saw(sizes, patch, tmp_path):
    theirs = builders.vit(patch=patch)
    system = started(sizes, f"image={saved(theirs, tmp_path)}")
    view = system.view(GIVEN)
    same(view.image().states, theirs(view.pixels()).last_hidden_state)
    if system.twin is not None:
        same(system.twin.twin.see(view.pixels()).states, view.image().states)


@torch.no_grad()
def test_both_generations_of_names_are_read_and_files_of_each_kind(tmp_path):
    """Those of the files that are published, and those that newer models have, here in a file of torch's; and many."""
    theirs = builders.vit()
    folders = [saved(theirs, tmp_path / "old"), saved(theirs, tmp_path / "new"), tmp_path / "many"]
    (folders[1] / "model.safetensors").unlink()
    torch.save({f"vit.{name}": value for name, value in theirs.state_dict().items()}, folders[1] / "pytorch_model.bin")
    theirs.save_pretrained(folders[2], max_shard_size="40KB")
    assert len(list(folders[2].glob("model-*"))) > 1
    one, *others = (started(VILT_SMALL, f"image={folder}").state_dict() for folder in folders)
    assert all(torch.equal(one[name], other[name]) for name in one for other in others)


@pytest.mark.parametrize(
    ("sizes", "activation"),
    [
        (METER(image=CLIP_VIT, text=(16, 1, 2), cross=1, image_size=SIZE), None),
        (ALBEF(image=CLIP_VIT, picture=(256, 0, 0), text=(16, 1, 1, 2), image_size=SIZE, queue=8), "gelu"),
        (BLIP(image=CLIP_VIT, picture=(256, 0, 0), text=(16, 1, 2), image_size=SIZE, queue=8), None),
        (CoCa(picture=(256, 10, 4), text=(16, 1, 2), pool=(3, 2), patch=16, image_size=SIZE), "gelu"),
        (ViLT(trunk=(64, 2, 1), patch=16, image_size=SIZE, clip="gelu"), None),
        (replace(VILT_SMALL, clip="quick_gelu"), "quick_gelu"),
    ],
)
@torch.no_grad()
def test_a_clips_tower_sees_what_it_saw(sizes, activation, tmp_path, monkeypatch):
    """One of open_clip's, or one of transformers' with this activation. Each of its states is normalised at the end, in
    CoCa by the pool over them."""
    pixels = torch.randn(3, 3, SIZE, SIZE)
    alone = isinstance(sizes, ViLT)
    if activation is None:
        theirs = builders.open_clips(monkeypatch, **({"width": 64, "layers": 2} if alone else {}))
        torch.save(theirs.state_dict(), tmp_path / "clip.pt")
        source, tower = f"ViT-B-16:{tmp_path}/clip.pt", theirs.visual
        expected = tower.ln_post(tower.transformer(tower._embeds(pixels)))
    else:
        theirs = builders.clip(activation=activation, **(CLIP_OF if alone else {}))
        source, tower = str(saved(theirs, tmp_path)), theirs.vision_model
        expected = tower.post_layernorm(tower(pixels).last_hidden_state)
    system = started(sizes, f"image={source}")
    image = system.model.image
    assert system.model.normalise.values == (OPENAI_MEAN, OPENAI_STD)
    if alone:
        same(system.model.fusion(image(pixels), None).image, expected)
    elif isinstance(sizes, CoCa):
        same(image.pool.context_norm(image.encoder(pixels).states), expected)
    else:
        same(image.body(pixels), expected)


@torch.no_grad()
def test_timms_encoders_come_by_name_out_of_a_file(tmp_path):
    """A ViT of another grid, whose places are as timm itself would bring them here; and a CNN."""
    theirs = shaken(timm.create_model("test_vit", global_pool=""))
    save_file(theirs.state_dict(), tmp_path / "vit.safetensors")
    pixels = torch.randn(2, 3, 2 * SIZE, 2 * SIZE)
    for folder in (None, tmp_path / "hub"):
        source = f"timm:test_vit:{tmp_path}/vit.safetensors"
        if folder is not None:  # as it is kept on the hub
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({"architecture": "test_vit"}))
            source = str((tmp_path / "vit.safetensors").rename(folder / "model.safetensors").parent)
        small = replace(TIMMS_SMALL, image_size=2 * SIZE)
        same(started(small, f"image={source}").model.image.body(pixels), theirs.forward_features(pixels))
    cnn = shaken(timm.create_model("test_resnet"))
    torch.save({"state_dict": cnn.state_dict()}, tmp_path / "cnn.pth")
    system = started(
        PixelBERT(trunk=STACK, image="test_resnet", image_size=64), f"image=timm:test_resnet:{tmp_path}/cnn.pth"
    )
    same(system.model.image.body(pixels), cnn.forward_features(pixels))


@torch.no_grad()
def test_a_single_stream_sees_a_picture_alone_as_the_vit_did(tmp_path):
    theirs = builders.vit()
    system = started(VILT_SMALL, f"image={saved(theirs, tmp_path)}")
    view = system.view(GIVEN)
    same(system.model.fusion(view.image(), None).image, theirs(view.pixels()).last_hidden_state)


@torch.no_grad()
def test_a_masked_autoencoder_hides_and_paints_as_it_did(tmp_path):
    theirs = builders.mae()
    sizes = VLC(trunk=STACK, decoder=(16, 2, 2), patch=8, image_size=SIZE, hidden=0.75)
    system = started(sizes, f"image={saved(theirs, tmp_path)}")
    view, mim = system.view(GIVEN), system.objectives["mim"]
    seen, _ = view.places(mim.hidden)
    noise = torch.ones(len(seen), 16).scatter(1, seen, torch.arange(4.0).expand(len(seen), -1) / 10)
    states = system.model.fusion(view.image(mim.hidden), None).image
    same(states, theirs.vit(view.pixels(), noise=noise).last_hidden_state)
    pixels = mim.decoder(states, seen).unflatten(-1, (3, 64)).transpose(-1, -2).flatten(-2)
    same(pixels, theirs(view.pixels(), noise=noise).logits)


@pytest.mark.parametrize("side", [48, 16])
@torch.no_grad()
def test_places_of_another_grid_are_interpolated(side, tmp_path):
    theirs = builders.vit()
    found = started(replace(VILT_SMALL, image_size=side), f"image={saved(theirs, tmp_path)}").model.image.position
    places = theirs.embeddings.position_embeddings
    grid = places[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (side // 8, side // 8), mode="bicubic", antialias=True, align_corners=False)
    same(found, torch.cat([places[:, :1], expected.flatten(2).transpose(1, 2)], dim=1))


def read(theirs, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Where there are words, and a BERT's states after each of its blocks."""
    seen = there(tokens, WORDS.end)
    return seen, theirs(input_ids=tokens, attention_mask=seen.long(), output_hidden_states=True).hidden_states


@torch.no_grad()
def test_a_bert_reads_what_it_read(tmp_path):
    """In METER all of it by itself; in ALBEF its lower blocks, and the others over them where no picture is; in BLIP
    both of what shares its blocks; in Pixel-BERT without a picture. ViLT has of it what goes into a block."""
    theirs = builders.bert(max_position_embeddings=40)
    source, tokens = f"text={saved(theirs, tmp_path)}", GIVEN.tokens
    seen, states = read(theirs, tokens)
    same(started(METER_SMALL, source).model.text(tokens).states[seen], states[-1][seen])
    albef = started(ALBEF_SMALL, source).model
    same(albef.text(tokens).states[seen], states[2][seen])
    same(albef.fuse(None, albef.text(tokens)).text[seen], states[-1][seen])
    blip = started(BLIP_SMALL, source).model
    same(blip.fuse(None, blip.text(tokens)).text[seen], states[-1][seen])
    for block in blip.fusion.trunk.blocks:
        roles = [block.attention[role].state_dict() for role in ("self", "decode")]
        assert all(torch.equal(value, roles[1][name]) for name, value in roles[0].items())
    pixelbert = started(PixelBERT(trunk=STACK, image=None, sampled=4, image_size=64), source).model
    same(pixelbert.fuse(None, pixelbert.text(tokens)).text[seen], states[-1][seen])
    same(started(VILT_SMALL, source).model.text(tokens).states[seen], states[0][seen])


@torch.no_grad()
def test_words_are_taken_by_what_they_are(tmp_path):
    """Another vocabulary has them in another order, and some of them only."""
    theirs = builders.bert(vocab_size=50)
    ours = {f"word{number}": number for number in range(WORDS.size)}
    kept = [f"word{(7 * number) % WORDS.size}" for number in range(50)]  # 7 and 60 have no divisor in common
    folder = saved(theirs, tmp_path, kept)
    torch.manual_seed(1)
    system = METER_SMALL.build(WORDS)
    fresh = system.model.text.embed.word.weight.clone()
    (told,) = load_start(system, [f"text={folder}"], "meter", CPU, ours)
    assert told.endswith("has 50 of the 60 word pieces; the others begin fresh")
    table = theirs.embeddings.word_embeddings.weight
    for word, number in ours.items():
        expected = table[kept.index(word)] if word in kept else fresh[number]
        assert torch.equal(system.model.text.embed.word.weight[number], expected)
    (folder / "vocab.txt").write_text("une\ndeux")
    with pytest.raises(UserError, match="has none of this system's word pieces"):
        load_start(system, [f"text={folder}"], "meter", CPU, ours)
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match="has 50 words and this system's vocabulary 60; give a folder that has"):
        load_start(system, [f"text={folder}"], "meter", CPU, ours)


@torch.no_grad()
def test_a_vilt_that_is_kept_whole_goes_on_as_it_was(tmp_path):
    theirs = builders.vilt()
    torch.manual_seed(1)
    system = VILT_SMALL.build(WORDS)
    (told,) = load_start(system, [str(saved(theirs, tmp_path))], "vilt", CPU)
    assert told.endswith("has not all of objectives.itm; what it lacks begins fresh")
    view, seen = system.eval().view(GIVEN), there(GIVEN.tokens, WORDS.end)
    expected = theirs.vilt(input_ids=GIVEN.tokens, attention_mask=seen.long(), pixel_values=view.pixels())
    same(view.fused().text[seen], expected.last_hidden_state[:, : seen.shape[1]][seen])
    same(view.fused().pooled, expected.pooler_output)


@torch.no_grad()
def test_a_blip_that_is_kept_whole_goes_on_as_it_was(tmp_path):
    theirs = builders.blip()
    system = started(BLIP_SMALL, str(saved(theirs, tmp_path)))
    view, seen = system.view(GIVEN), there(GIVEN.tokens, WORDS.end).long()
    expected = theirs(GIVEN.tokens, view.pixels(), use_itm_head=False, attention_mask=seen).itm_score
    same(view.image_vectors() @ view.text_vectors().T, expected)
    same(started(ALBEF_SMALL, f"image={tmp_path}").view(GIVEN).image().states, view.image().states)
    # Its tokenizer has all words but the two that begin a text, of which the configuration knows.
    ours = {f"word{number}": number for number in range(5)} | {"[DEC]": 5, "[ENC]": 6}
    (tmp_path / "vocab.txt").write_text("\n".join(f"word{number}" for number in range(4, -1, -1)))
    table = theirs.text_encoder.embeddings.word_embeddings.weight
    found = started(BLIP_SMALL, str(tmp_path), pieces=ours).model.text.word.weight
    assert torch.equal(found[:7], table[[4, 3, 2, 1, 0, 5, 6]])


def test_a_name_of_timms_is_what_its_hub_keeps_or_one_line(tmp_path, monkeypatch):
    """What was fetched once lies in the hub's cache, from which it is read here."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    name, sizes = "test_vit", TIMMS_SMALL
    with pytest.raises(UserError, match=f"^--train.start image=timm:{name}: cannot be fetched .*timm:{name}:FILE$"):
        started(sizes, f"image=timm:{name}")
    theirs = shaken(timm.create_model(name))
    kept = tmp_path / f"models--{theirs.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("one")
    (kept / "snapshots" / "one").mkdir(parents=True)
    save_file(theirs.state_dict(), kept / "snapshots" / "one" / "model.safetensors")
    body = started(sizes, f"image=timm:{name}").model.image.body
    assert torch.equal(body.blocks[5].mlp.fc2.weight, theirs.blocks[5].mlp.fc2.weight)


NO_VIT = "timm:swin_tiny_patch4_window7_224"


@pytest.mark.parametrize(
    ("sizes", "part", "model", "says"),
    [
        (METER_SMALL, "image", builders.vit, "on patches of 8 pixels, and this system's .* on patches of 16 pixels"),
        (VILT_SMALL, "image", lambda: builders.vit(num_hidden_layers=2), "2 blocks of width 32 .*trunk 3 blocks of"),
        (VILT_SMALL, "image", lambda: builders.vit(num_attention_heads=2), "with 2 heads .* with 4 heads"),
        (VILT_SMALL, "image", lambda: builders.vit(intermediate_size=64), r"is \(64,\), and .* \(128,\)"),
        (ALBEF_SMALL, "image", builders.deit, "a DeiT that was distilled"),
        (ALBEF_SMALL, "image", builders.bert, "a bert is no encoder of pictures"),
        (ALBEF_SMALL, "text", builders.vit, "a vit is no encoder of texts"),
        (ALBEF_SMALL, "text", lambda: builders.bert(num_hidden_layers=4), "4 blocks .*text.trunk and .*3 blocks of"),
        (ALBEF_SMALL, "text", lambda: builders.bert(hidden_act="relu"), "relu, and this system's .* gelu"),
        (ALBEF_SMALL, "text", lambda: builders.bert(max_position_embeddings=9), r"is \(9, 32\), and .* \(16, 32\)"),
        (CoCa(picture=STACK, text=STACK, patch=8, image_size=SIZE), "text", builders.bert, "does not read as a BERT"),
        (CoCa(picture=STACK, text=STACK, patch=8, image_size=SIZE), "image", builders.vit, "begin without a norm"),
        (replace(VILT_SMALL, clip="gelu"), "image", builders.vit, "begin without a norm"),
        (VLC(trunk=STACK, decoder=(16, 1, 2), patch=8, image_size=SIZE), "image", builders.mae, "decoder 1 blocks"),
        (VILT_SMALL, None, builders.vit, "a vit is a part of a system; give image="),
        (VILT_SMALL, None, builders.clip, "a clip is no such system"),
        (ALBEF_SMALL, None, builders.vilt, "as model, and this system has none there"),
        (VILT_SMALL, None, builders.blip, "as model.image.body, and this system has none there"),
        (METER_SMALL, None, builders.mae, "a vit_mae is a part of a system; give image="),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_names_both(sizes, part, model, says, tmp_path):
    source = f"{part}={saved(model(), tmp_path)}" if part else str(saved(model(), tmp_path))
    with pytest.raises(UserError, match=f"^--train.start {source}: .*{says}") as error:
        started(sizes, source)
    assert "\n" not in str(error.value)
    if "is \\(" not in says:  # what sizes and kinds tell is told before anything is fetched
        with pytest.raises(UserError, match=says):
            check_start(sizes, (source,))


@pytest.mark.parametrize(
    ("sizes", "activation", "says"),
    [
        (VILT_SMALL, "quick_gelu", "begin with a norm, .* or a vilt with --model.clip quick_gelu"),
        (replace(VILT_SMALL, clip="gelu"), "quick_gelu", "and quick_gelu, .* and this system's model.fusion.trunk"),
        (BLIP_SMALL, "gelu", "begin with a norm, .* a system whose encoder is one of timm's CLIPs"),
        (BLIP_SMALL, "quick_gelu", "and quick_gelu, .* and this system's model.image.body .* and gelu"),
    ],
)
def test_a_clips_tower_is_refused_where_it_would_see_something_else(sizes, activation, says, tmp_path):
    theirs = builders.clip(activation=activation, **CLIP_OF)
    with pytest.raises(UserError, match=says):
        started(sizes, f"image={saved(theirs, tmp_path)}")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("timm:swin_tiny_patch4_window7_224:{}", "not weights that timm can read"),
        ("timm:vit_tini_patch16_224:{}", "did you mean 'vit_tiny_patch16_224'"),
        ("timm:deit_tiny_distilled_patch16_224:{}", "name one that was not distilled"),
        ("ViT-B-16:{}", "not weights that open_clip can read"),
        ("RN50:{}", "not weights that open_clip can read"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(source, says, tmp_path):
    (tmp_path / "torn.pt").write_bytes(b"torn")
    with pytest.raises(UserError, match=says) as error:
        started(VILT_SMALL, f"image={source.format(tmp_path / 'torn.pt')}")
    assert "\n" not in str(error.value)


def test_a_swin_goes_into_no_patches(tmp_path):
    theirs = timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1))
    save_file(theirs.state_dict(), tmp_path / "swin.safetensors")
    with pytest.raises(UserError, match="a SwinTransformer, and this system takes patches"):
        started(VILT_SMALL, f"image={NO_VIT}:{tmp_path}/swin.safetensors")


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str) -> None:
        self.lines.append(text)


def test_a_run_begins_with_its_parts_says_what_they_lack_and_needs_them_no_more_afterwards(tmp_path):
    """With a rate of 0 it ends with what it began with."""
    write_images(tmp_path / "images", [8])
    train_word_pieces([f"picture {number} another name of" for number in range(8)], 60).save(f"{tmp_path}/pieces.json")
    vit, bert = builders.vit(), builders.bert(max_position_embeddings=40)
    pieces = [f"unknown{number}" for number in range(WORDS.size - 2)]
    start = [f"image={saved(vit, tmp_path / 'vit')}", f"text={saved(bert, tmp_path / 'bert', ['p', *pieces])}"]
    told = Told()

    def train(*words: str, steps: int) -> dict[str, Tensor]:
        train_model(
            images=tmp_path / "images",
            selection=None,
            recipe=VILT_SMALL,
            train=Train(
                steps=steps, batch_size=4, lr=0, weight_decay=0, log_every=1, gpu=False, threads=1, start=words
            ),
            data=Data(threads=1),
            tokenizer=tmp_path / "pieces.json",
            out=tmp_path,
            tracker=told,
        )
        return load_file(tmp_path / "model.safetensors")

    weights = train(*start, steps=1)
    assert torch.equal(weights["model.image.position"], vit.embeddings.position_embeddings)
    number = word_numbers(tmp_path / "pieces.json")["p"]
    assert torch.equal(weights["model.text.word.weight"][number], bert.embeddings.word_embeddings.weight[0])
    few = f"--train.start {start[1]}: has 1 of the {len(weights['model.text.word.weight'])} word pieces; the others"
    assert [line.partition(" begin fresh")[0] for line in told.lines] == [
        f"--train.start {start[1]}: its embedding is taken: no blocks here are like a BERT's",
        few,
    ]
    assert torch.equal(train(steps=2)["model.image.whole"], weights["model.image.whole"])
    with pytest.raises(
        UserError, match=r"was made with train\.start image=vit \(\w+\), text=bert \(\w+\), not image=vit"
    ):
        train(start[0], steps=3)
