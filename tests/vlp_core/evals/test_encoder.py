"""Every kind of model gives the vectors that open_clip gives; what would need the network is refused."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.vlp_core.evals.builders import COLOURS, CONFIG, model_folder, picture
from vlp_core.errors import UserError
from vlp_core.evals.encoder import load_encoder, one_ahead
from vlp_core.evals.settings import Evaluate

SIZES = [(48, 40), (33, 90), (32, 32), (200, 100)]
BODIES = [picture(colour, 0, size) for colour, size in zip(COLOURS.values(), SIZES, strict=True)]
TEXTS = ["a red picture", "A GREEN picture", "", "word " * 40, "blue"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("encoder") / "model", 7)


@pytest.fixture(scope="module")
def export(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    shutil.copyfile(model / "model.safetensors", folder / "open_clip_model.safetensors")
    config = {**CONFIG["open_clip"], "tokenizer": CONFIG.get("tokenizer", {})}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_batch_is_begun_before_the_one_before_it_is_worked_on(count: int) -> None:
    has_begun: list[int] = []

    def begun() -> Iterator[int]:
        for number in range(count):
            has_begun.append(number)
            yield number

    told = [(number, len(has_begun)) for number in one_ahead(begun())]
    assert told == [(number, min(number + 2, count)) for number in range(count)]


@pytest.mark.parametrize("form", ["model folder", "export folder", "local-dir"])
def test_vectors_are_open_clips(form: str, model: Path, export: Path) -> None:
    spec = {"model folder": model, "export folder": export, "local-dir": f"local-dir:{export}"}[form]
    encoder = load_encoder(spec, Evaluate(batch_size=3, threads=2))
    plain, transform = open_clip.create_model_from_pretrained(f"local-dir:{export}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{export}")
    with torch.no_grad():
        pixels = torch.stack([transform(Image.open(io.BytesIO(body))) for body in BODIES])
        images = plain.eval().encode_image(pixels, normalize=True)
        texts = plain.encode_text(tokenize(TEXTS), normalize=True)
    torch.testing.assert_close(encoder.images(BODIES), images, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoder.texts(TEXTS), texts, atol=1e-6, rtol=0)


def test_any_open_clip_checkpoint_is_read_by_architecture_and_file(
    model: Path, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = CONFIG["open_clip"]["model_cfg"]
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {"tiny": small, "MobileCLIP-S1": small})
    weights = load_file(model / "model.safetensors")
    save_file(weights, tmp_path / "tiny.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "tiny.pt")
    expected = load_encoder(model).texts(TEXTS)
    for file in ("tiny.safetensors", "tiny.pt"):
        torch.testing.assert_close(load_encoder(f"tiny:{tmp_path / file}").texts(TEXTS), expected, atol=1e-6, rtol=0)
    # its published weights take pictures as they are, which no file says
    pixels = load_encoder(f"MobileCLIP-S1:{tmp_path / 'tiny.pt'}").transform(Image.new("RGB", (32, 32), (255, 0, 0)))
    assert (pixels.min(), pixels.max()) == (0, 1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ViT-B-32:openai", "'openai' is no local file"),
        ("hf-hub:org/model", "would be downloaded"),
        ("ViT-B-33:{file}", "did you mean 'ViT-B-32'?"),
        ("ViT-B-32:{file}", "open_clip cannot load this"),
        ("ViT-B-16-SigLIP:{file}", "tokenizer"),
        ("{folder}", "neither config.json"),
        ("{folder}/missing", "no such model folder"),
    ],
)
def test_what_is_not_at_hand_is_refused_in_one_line(
    spec: str, words: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object, **named: object) -> None:
        raise AssertionError("asked for the network")

    monkeypatch.setattr("socket.socket.connect", no_network)
    small = {name: {**open_clip.get_model_config(name)} for name in ("ViT-B-32", "ViT-B-16-SigLIP")}
    small["ViT-B-32"] |= CONFIG["open_clip"]["model_cfg"] | {"embed_dim": 16}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", small)
    with pytest.raises(UserError) as refused:
        load_encoder(spec.format(file=model / "model.safetensors", folder=tmp_path))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_diverged_model_and_a_broken_picture_are_refused(model: Path, tmp_path: Path) -> None:
    encoder = load_encoder(model)
    with pytest.raises(UserError, match="cannot be decoded"):
        encoder.images([b"<html>"])
    with torch.no_grad():
        encoder.model.clip.logit_scale.fill_(torch.nan)
        encoder.texts(["fine: the scale is no part of a vector"])
        encoder.model.clip.ln_final.bias.fill_(torch.nan)
    with pytest.raises(UserError, match="not finite"):
        encoder.texts(["a"])
