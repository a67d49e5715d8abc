import pytest
import torch

from tests.vlp_core.train.builders import VOCABULARY
from vlp_core.errors import UserError
from vlp_core.model_folder import write_folder
from vlp_core.recipes.clip import CLIP
from vlp_core.train.start import load_start

NAME = "ViT-B-32"
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
    load_start(system, f"{NAME}:{path}", "clip", CPU)
    for name, value in theirs.state_dict().items():
        assert torch.equal(system.model.clip_state_dict()[name], value), name


def test_what_is_no_start_is_refused_in_one_line(small, tmp_path):
    (tmp_path / "torn.pt").write_bytes(b"torn")
    system = small.build(VOCABULARY)
    for start, says in [
        (f"{NAME}:{tmp_path}/none.pt", "no such file"),
        (f"{NAME}:{tmp_path}/torn.pt", f"not weights of a {NAME}"),
        ("ViT-B-16:weights.pt", "set its open_clip to ViT-B-16"),
        ("ViT-B-3:weights.pt", "did you mean"),
        ("nowhere", "no such folder"),
        (str(tmp_path), "neither a model nor a checkpoint"),
    ]:
        with pytest.raises(UserError, match=says) as error:
            load_start(system, start, "clip", CPU)
        assert "\n" not in str(error.value)


def test_a_model_of_another_recipe_is_refused_by_name(small, tmp_path):
    write_folder(tmp_path, {}, {"recipe": {"name": "vilt"}, "preprocess": {}, "tokenizer": {}})
    with pytest.raises(UserError, match="this is a vilt, and a clip is trained"):
        load_start(small.build(VOCABULARY), str(tmp_path), "clip", CPU)
