import json
import math
from dataclasses import replace

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from tests.vlp_core.train.builders import SMALL, config, system
from vlp_core.dual_encoder import MAX_LOG_SCALE, DualEncoder, load_dual_encoder
from vlp_core.errors import UserError
from vlp_core.model_folder import write_folder


def configs():
    plain = config()
    custom = config()
    custom["open_clip"]["model_cfg"] |= {"custom_text": True, "init_logit_bias": -10.0}
    return [pytest.param(plain, id="clip"), pytest.param(custom, id="custom text tower with a bias")]


def inputs():
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (4, 3, SMALL.image_size, SMALL.image_size), dtype=torch.uint8)
    return pixels, torch.randint(1, 49408, (4, SMALL.context))


@pytest.mark.parametrize("given", configs())
def test_folder_is_what_open_clip_writes_and_loads(given, tmp_path):
    """Names and shapes are open_clip's, its `local-dir:` loads the folder, and the embeddings are the same."""
    torch.manual_seed(0)
    model = DualEncoder(given["open_clip"]).eval()
    write_folder(tmp_path, model.clip_state_dict(), given)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(given["open_clip"]))
    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    theirs.eval()

    saved = load_file(tmp_path / "model.safetensors")
    assert {name: value.shape for name, value in saved.items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    pixels, tokens = inputs()
    normalise = preprocess.transforms[-1]
    with torch.no_grad():
        image = theirs.encode_image(normalise(pixels / 255), normalize=True)
        text = theirs.encode_text(tokens, normalize=True)
        torch.testing.assert_close(model.encode_image(model.normalise(pixels)), image)
        torch.testing.assert_close(model.encode_text(tokens), text)
        torch.testing.assert_close(model.scale(), theirs.logit_scale.exp().reshape(1))


@pytest.mark.parametrize("given", configs())
def test_a_saved_model_loads_as_it_was_and_writes_equal_bytes(given, tmp_path):
    torch.manual_seed(0)
    model = DualEncoder(given["open_clip"])
    write_folder(tmp_path / "a", model.clip_state_dict(), given)
    again, read = load_dual_encoder(tmp_path / "a")
    assert read == json.loads(json.dumps(given)) and not again.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    write_folder(tmp_path / "b", again.clip_state_dict(), read)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("log_scale", "push", "expected"), [(1.0, 1.0, 1), (1.0, -1.0, 1), (6.0, 1.0, 1), (6.0, -1.0, 0)]
)
def test_scale_stays_at_100_and_can_come_back(log_scale, push, expected):
    """Above ln 100 the scale is 100; the gradient that would raise it further is cut, the one that lowers it is not."""
    model = system().model
    model.clip.logit_scale.data.fill_(log_scale)
    scale = model.scale()
    assert scale.item() == pytest.approx(math.exp(min(log_scale, MAX_LOG_SCALE)))
    (push * scale).sum().backward()
    assert bool(model.clip.logit_scale.grad) == bool(expected)


def test_before_a_sigmoid_the_scale_has_no_bound():
    """SigLIP's learned ones are above 100 (arXiv:2303.15343)."""
    model = system(recipe=replace(SMALL, loss="sigmoid")).model
    assert (model.scale().item(), model.clip.logit_bias.item()) == pytest.approx((10.0, -10.0))
    model.clip.logit_scale.data.fill_(6.0)
    (-model.scale()).sum().backward()
    assert model.scale().item() == pytest.approx(math.exp(6.0)) and model.clip.logit_scale.grad


def test_what_is_no_model_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="not a model folder"):
        load_dual_encoder(tmp_path)
    write_folder(tmp_path, system().model.clip_state_dict(), config())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"model\.safetensors: not readable"):
        load_dual_encoder(tmp_path)


def test_weights_of_another_size_are_refused_in_one_line():
    smaller = DualEncoder(config()["open_clip"])
    larger = config()
    larger["open_clip"]["model_cfg"]["embed_dim"] = 16
    with pytest.raises(UserError, match=r"^here: its weights do not fit") as error:
        DualEncoder(larger["open_clip"]).load_weights(smaller.clip_state_dict(), origin="here")
    assert "\n" not in str(error.value)
