import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import jobs.train
from pipelines.workflow.outside import Digests
from pipelines.workflow.step import identify, resolve, step
from tests.vlp_core.interop import builders
from tests.vlp_core.recipes.builders import WORDS
from tests.vlp_core.train.builders import SMALL, VOCABULARY
from vlp_core.data.tokens import tokenizer_of
from vlp_core.errors import UserError
from vlp_core.model_folder import EXPORT_CONFIG, EXPORT_WEIGHTS, write_folder
from vlp_core.recipes.albef import ALBEF
from vlp_core.recipes.clip import CLIP
from vlp_core.recipes.coca import CoCa
from vlp_core.recipes.meter import METER
from vlp_core.settings import named_path
from vlp_core.sizes import config_of
from vlp_core.train.checkpoint import STATE_FILE
from vlp_core.train.settings import Train, sources_of
from vlp_core.train.start import check_start, identify_start, load_start

NAME = "ViT-B-32"
HUB = "image=timm:vit_tiny_patch16_224"
TOWER = {"patch": 8, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 256}
CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch):
    """open_clip's architecture by that name, made small: its full size is of no matter here and takes long."""
    import open_clip
    from open_clip import factory

    config = open_clip.get_model_config(NAME)
    config["vision_cfg"] |= {"width": 64, "layers": 1, "image_size": 32}
    config["text_cfg"] |= {"width": 32, "layers": 1, "heads": 1}
    monkeypatch.setitem(factory._MODEL_CONFIGS, NAME, config)
    return CLIP(open_clip=NAME)


def test_a_file_of_open_clips_is_a_start(small, tmp_path):
    """As open_clip's training saves it: a wrapped state dict whose scale has no dimension."""
    import open_clip

    theirs = open_clip.create_model(NAME)
    path = tmp_path / "epoch_32.pt"
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"epoch": 32, "state_dict": state}, path)
    system = small.build(VOCABULARY)
    load_start(system, [f"{NAME}:{path}"], "clip", CPU)
    for name, value in theirs.state_dict().items():
        assert torch.equal(system.model.clip_state_dict()[name], value), name


def test_an_export_is_a_start(small, tmp_path):
    """What was registered goes on, as `models:/clip@champion`."""
    theirs, system = small.build(VOCABULARY), small.build(VOCABULARY)
    state = theirs.model.clip_state_dict()
    save_file(state, tmp_path / EXPORT_WEIGHTS)
    for width, says in ((None, None), (7, "has other sizes than the recipe's model")):
        config = json.loads(json.dumps(theirs.model.config))
        config["model_cfg"] |= {"embed_dim": width} if width else {}
        (tmp_path / EXPORT_CONFIG).write_text(json.dumps(config))
        with nullcontext() if says is None else pytest.raises(UserError, match=says):
            check_start(small, [str(tmp_path)])
            load_start(system, [str(tmp_path)], "clip", CPU)
    for name, value in state.items():
        assert torch.equal(system.model.clip_state_dict()[name], value), name
    named = identify_start([str(tmp_path)])
    save_file({name: value + 1 for name, value in state.items()}, tmp_path / EXPORT_WEIGHTS)
    assert identify_start([str(tmp_path)]) != named


def test_what_is_no_start_is_refused_in_one_line(small, tmp_path):
    (tmp_path / "torn.pt").write_bytes(b"torn")
    system = small.build(VOCABULARY)
    for start, says in [
        (f"{NAME}:{tmp_path}/none.pt", "no such file"),
        (f"{NAME}:{tmp_path}/torn.pt", f"not weights of a {NAME}"),
        (f"ViT-B-16:{tmp_path}/torn.pt", "set its open_clip to ViT-B-16"),
        (f"ViT-B-3:{tmp_path}/torn.pt", "did you mean"),
        (f"image={NAME}:{tmp_path}/torn.pt", "a dual encoder is started as a whole"),
        ("nowhere", "no such file or folder"),
        (str(tmp_path), "neither a model nor a checkpoint"),
    ]:
        with pytest.raises(UserError, match=says) as error:
            load_start(system, [start], "clip", CPU)
        assert "\n" not in str(error.value)


def test_a_model_of_another_recipe_is_refused_by_name(small, tmp_path):
    write_folder(tmp_path, {}, {"recipe": {"name": "vilt"}, "preprocess": {}, "tokenizer": {}})
    with pytest.raises(UserError, match="this is a vilt, and a clip is trained"):
        load_start(small.build(VOCABULARY), [str(tmp_path)], "clip", CPU)


def test_a_model_or_a_checkpoint_of_other_sizes_is_refused_before_it_is_read(tmp_path):
    """By heads too, of which no shape tells; what changes none of its weights may differ."""
    sizes = ALBEF(picture=(32, 1, 2), text=(32, 1, 1, 2), patch=8, image_size=16, queue=8)
    recipe = config_of(sizes)["recipe"]
    model, checkpoint = tmp_path / "model", tmp_path / "checkpoint"
    for folder in (model, checkpoint):
        folder.mkdir()
    write_folder(model, {}, config_of(sizes))
    state = {"settings": {f"recipe.{key}": value for key, value in recipe.items()}}
    (checkpoint / STATE_FILE).write_text(json.dumps(state))
    for folder in (model, checkpoint):
        check_start(replace(sizes, dropout=0.1, queue=16), [str(folder)])
        for changes, flag in [
            ({"text": (32, 2, 1, 2)}, "--model.text 32 1 1 2"),
            ({"text": (32, 1, 1, 4)}, "--model.text 32 1 1 2"),
            ({"picture": (64, 1, 2)}, "--model.picture 32 1 2"),
            ({"image_size": 24}, "--model.image-size 16"),
        ]:
            with pytest.raises(UserError, match=rf"{folder}: has other sizes; give its own \({flag}\), or"):
                check_start(replace(sizes, **changes), [str(folder)])


@torch.no_grad()
def test_a_bert_meets_its_own_word_pieces_row_for_row(tmp_path):
    """What a BERT lacks of the special ones comes after them."""
    words = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "circle", "red", "##s"]
    theirs = builders.bert(vocab_size=len(words))
    read = tokenizer_of({"name": "wordpiece", "context_length": 16}, builders.saved(theirs, tmp_path, words))
    sizes = METER(image=None, text=(builders.DIM, builders.DEPTH, builders.HEADS), cross=1, image_size=32)
    system = sizes.build(read.vocabulary)
    (told,) = load_start(system, [f"text={tmp_path}"], "meter", CPU, read.pieces)
    assert told.endswith("has 10 of the 12 word pieces; the others begin fresh")
    table = system.model.text.embed.word.weight
    assert torch.equal(table[:-2], theirs.embeddings.word_embeddings.weight) and len(table) == 12


@torch.no_grad()
def test_a_clip_that_transformers_saved_is_a_start_and_so_is_its_tower_when_it_is_trained_here(tmp_path):
    """Of another grid, too; and not where it would compute something else."""
    theirs = builders.clip(**TOWER)
    start = [str(builders.saved(theirs, tmp_path / "clip"))]
    sizes = replace(SMALL, patch=8, image_size=16)
    ours = sizes.build(VOCABULARY)
    load_start(ours, start, "clip", CPU)
    pixels, tokens = torch.randn(3, 3, 16, 16), torch.randint(1, 49_407, (3, 8))
    tokens[:, 5] = 49_407
    expected = theirs(tokens, pixels, interpolate_pos_encoding=True)
    torch.testing.assert_close(ours.model.encode_text(tokens), expected.text_embeds, atol=1e-4, rtol=0)

    write_folder(tmp_path / "model", ours.finished(), config_of(sizes) | ours.described())
    begun = CoCa(picture=(64, 1, 1), text=(16, 1, 2), pool=(3, 2), patch=8, image_size=16).build(WORDS)
    load_start(begun, [f"image={tmp_path / 'model'}"], "coca", CPU)
    image = begun.model.image
    visual = ours.model.clip.visual
    expected = visual.ln_post(visual.transformer(visual._embeds(pixels)))
    torch.testing.assert_close(image.pool.context_norm(image.encoder(pixels).states), expected, atol=1e-4, rtol=1e-4)

    quick = [str(builders.saved(builders.clip(activation="quick_gelu", **TOWER), tmp_path / "quick"))]
    with pytest.raises(UserError, match=r"and quick_gelu, .* and this system's visual .* and gelu"):
        load_start(ours, quick, "clip", CPU)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("image=nowhere",), "image=nowhere: no such file or folder"),
        (("imgae=.",), "no such part; did you mean 'image'"),
        (("image=.", "image=.."), "image has a source already"),
        ((".", "image=."), "one source for the whole system, or PART=SOURCE"),
        ((".", ".."), "the whole system has a source already"),
        (("timm:vit_tiny_patch16_224",), "no such file or folder"),
        (("image=timm:vit_tiny_patch16_224:nowhere",), "no such file or folder"),
    ],
)
def test_words_that_name_no_start_are_refused_before_anything_runs(words, says):
    with pytest.raises(UserError, match=says):
        sources_of(words)


def test_a_path_may_have_marks_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lr=1", "image=1", "a:b"):
        (tmp_path / name).mkdir()
        assert sources_of((name,)) == {None: name}
        assert sources_of((f"text={name}",)) == {"text": name}
    assert sources_of(("image=timm:vit_tiny_patch16_224", "text=lr=1"))["text"] == "lr=1"


def test_what_a_run_starts_from_counts_by_content_and_part(tmp_path, monkeypatch):
    """In the plan's fingerprint and in what is kept beside checkpoints: not the path, but the folder's name."""

    def named(*words: str) -> tuple[str, str]:
        current = step("train", jobs.train.run, train=Train(start=words))
        fingerprint = identify(current, lambda _: {}, Digests(tmp_path / "digests.json").of).fingerprint
        assert resolve(Train(start=words), lambda _: tmp_path) == Train(start=tuple(absolute(word) for word in words))
        return fingerprint, identify_start(words)

    def absolute(word: str) -> str:
        before, path = named_path(word)
        return f"{before}{path.absolute()}" if path else word

    def differ(one: tuple[str, str], other: tuple[str, str]) -> bool:
        assert (one[0] == other[0]) == (one[1] == other[1])
        return one != other

    monkeypatch.chdir(tmp_path)
    folder = builders.saved(builders.bert(), tmp_path / "bert", ["a", "b"])
    before = named(f"text={folder}", HUB)
    assert not differ(before, named("text=bert/", HUB))
    assert not differ(before, named(f"text={shutil.copytree(folder, tmp_path / 'other' / 'bert')}", HUB))
    assert differ(before, named("text=bert/", "image=timm:vit_small_patch16_224"))
    assert differ(named("image=bert"), named("text=bert"))
    assert differ(named("image=ViT-B-16:bert/vocab.txt"), named("image=ViT-B-32:bert/vocab.txt"))
    (folder / "vocab.txt").write_text("b\na")
    assert differ(before, changed := named("text=bert/", HUB))
    builders.saved(builders.bert(num_hidden_layers=2), folder)
    assert differ(changed, named("text=bert/", HUB))
