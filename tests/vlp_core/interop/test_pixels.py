"""An encoder that was made for pixels of another mean and deviation than it will see is taken, and told of."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.vlp_core.interop import builders
from tests.vlp_core.interop.builders import DEPTH, DIM, HEADS, SIZE, saved
from tests.vlp_core.train.builders import SMALL
from vlp_core.interop.place import place_picture
from vlp_core.interop.source import picture_of
from vlp_core.model_folder import write_folder
from vlp_core.needs import HALF, IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD
from vlp_core.recipes.vilt import ViLT
from vlp_core.sizes import config_of, outline

IMAGENET, OPENAI = (IMAGENET_MEAN, IMAGENET_STD), (OPENAI_MEAN, OPENAI_STD)
VILT = ViLT(trunk=(DIM, DEPTH, HEADS), patch=8, image_size=SIZE)


def kept_vit(folder: Path, **said: object) -> str:
    (saved(builders.vit(), folder) / "preprocessor_config.json").write_text(json.dumps(said))
    return str(folder)


def test_each_library_says_it_in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    save_file(timm.create_model("test_vit").state_dict(), hub / "model.safetensors")
    cfg = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    (hub / "config.json").write_text(json.dumps({"architecture": "test_vit", "pretrained_cfg": cfg}))
    clip = builders.open_clips(monkeypatch, width=64, layers=2)
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    towers = SMALL.build(builders.WORDS)
    write_folder(tmp_path / "own", towers.finished(), config_of(SMALL) | {"open_clip": towers.model.config})
    for source, pixels in [
        (kept_vit(tmp_path / "vit", image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD), IMAGENET),
        (kept_vit(tmp_path / "bare"), None),
        (f"timm:test_vit:{hub}/model.safetensors", (HALF, HALF)),
        (str(hub), IMAGENET),
        (f"ViT-B-16:{tmp_path}/clip.pt", OPENAI),
        (str(tmp_path / "own"), OPENAI),
    ]:
        assert picture_of(source).pixels == pixels, source


@pytest.mark.parametrize(("mean", "told"), [(HALF, False), ((0.5004, 0.5, 0.5), False), (IMAGENET_MEAN, True)])
def test_another_mean_is_told(mean: tuple[float, ...], told: bool, tmp_path: Path) -> None:
    placed = place_picture(outline(VILT), picture_of(kept_vit(tmp_path, image_mean=mean, image_std=HALF)))
    note = "was made for pixels of mean and deviation 0.485/0.456/0.406 and 0.5/0.5/0.5, and this system sees them by "
    assert placed.note == (f"{note}0.5/0.5/0.5 and 0.5/0.5/0.5" if told else None)
