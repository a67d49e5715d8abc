"""What `pretrain.py NAME` says before anything runs: one line of what is wrong, or the plan."""

from pathlib import Path

import pytest

from pipelines.pretrain import main, split_flag
from pipelines.workflow.ending import USAGE_FAULT, USER_FAULT
from tests.infra.places import INFRA
from vlp_core.model_folder import write_folder
from vlp_core.recipes.catalogue import RECIPES, table
from vlp_core.sizes import config_of


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], f"which recipe? pretrain.py NAME, where NAME is one of {', '.join(sorted(RECIPES))}"),
        (["--train.steps", "3"], "which recipe?"),
        (["vlit"], "vlit: no such recipe; did you mean 'vilt'?"),
        (["vilbert"], "vilbert: no such recipe; did you mean 'pixelbert'?"),
        (["x"], f"x: no such recipe; known: {', '.join(sorted(RECIPES))}"),
        (["vilt", "--size", "papr"], "--size papr: no such size; did you mean 'paper'?"),
        (["vilt", "--size"], "--size (nothing): no such size; known: paper, tiny"),
        (["vilt", "--size="], "--size (nothing): no such size"),
        (["vilt", "--size", "tiny", "--size=paper"], "--size: given twice"),
        (["vilt", "--train.stpes", "3"], "did you mean '--train.steps'?; pretrain vilt --help lists all"),
        (["vilt", "--filter.rules", "laion4000m"], "did you mean 'laion400m'"),
        (["vilt", "--select.balance", "no.txt"], "no.txt: not a readable list of entries"),
        (["vilt", "--select.balance-t", "5"], "--select.balance-t is for balancing: give --select.balance"),
        (["vilt", "--until", "trian"], "--until trian: no such step; did you mean 'train'?"),
        (["albef", "--train.zero-stage", "3"], "--train.zero-stage 3: this system has a momentum twin"),
        (["blip", "--size", "paper", "--train.zero-stage", "3"], "which follows whole weights"),
        (["blip", "--train.deepspeed", str(INFRA / "deepspeed" / "zero3.json")], "this system has a momentum twin"),
        (["meter", "--model.text", "64", "1", "5"], "--model.…: width 64 and 5 attention heads: give a width that is"),
        (["albef", "--model.picture", "64", "1", "0"], "--model.…: width 64 and 0 attention heads"),
        (
            ["vilt", "--model.image-size", "65"],
            "--model.…: image size 65 and patches of 16: give an image size that is",
        ),
        (["blip", "--model.patch", "0"], "--model.…: image size 64 and patches of 0"),
        (["ufo", "--model.trunk", "64", "0", "4"], "--model.…: model.fusion.trunk.blocks would have no block"),
        (["albef", "--model.picture", "64", "0", "4"], "--model.…: model.image.body.blocks would have no block"),
        (["pixelbert", "--model.image", "resnet5"], "--model.…: timm has no model 'resnet5'; did you mean"),
        (
            ["meter", "--model.image", "test_vit", "--model.image-size", "65"],
            "--model.…: no such system can be made (In",
        ),
        (["vlc", "--model.hidden", "60"], "--model.…: hidden 60.0: give a share of the picture's places"),
        (["pixelbert", "--model.sampled", "0"], "--model.…: sampled 0: give 1 or more"),
        (["coca", "--model.pool", "1", "8"], "--model.…: a pool of 1: give 2 or more queries"),
        (["albef", "--model.queue", "0"], "--model.…: queue 0: give 1 or more"),
        (["clip", "--model.text-layers", "0"], "--model.text-layers 0: give 1 or more"),
        (["vilt", "--train.lr-scale", "model.fusio=5"], "the system has no such part; did you mean 'model.fusion'"),
        (["clip", "--train.start", "image=timm:vit_base_patch16_224"], "a dual encoder is started as a whole"),
        (["albef", "--dual", str(INFRA)], f"--dual {INFRA}: albef finds candidates by towers of its own"),
        (["virtex", "--dual", str(INFRA)], "virtex has no fusion that ranks"),
        (["vilt", "--dual", str(INFRA)], f"{INFRA}: not a model folder"),
        (["vilt", "--source", str(INFRA), "--dual", str(INFRA)], "it brings candidates for --eval.retrieval"),
        (["virtex", "--register.metric", "retrieval/text_to_image_r@1"], "of a virtex there will be captions/cider"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_cannot_be_run_is_one_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLP_ROOT", str(tmp_path))
    assert main(words) in (USER_FAULT, USAGE_FAULT)
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and says in said.err and said.err.count("\n") == 1
    assert not said.out and not list(tmp_path.iterdir())


def test_what_another_recipe_has_trained_is_refused_by_name_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "model", {}, config_of(RECIPES["vilt"].TINY.system))
    start = ["--train.start", str(tmp_path / "model"), "--root", str(tmp_path / "root"), "--explain"]
    assert main(["ufo", *start]) == 2
    said = capsys.readouterr().err
    assert "this is a vilt, and a ufo is trained" in said and said.count("\n") == 1
    assert main(["vilt", *start]) == 0
    assert main(["vilt", "--dual", str(tmp_path / "model"), *start[2:]]) == 2
    assert "a vilt is no dual encoder of open_clip's" in capsys.readouterr().err


def test_any_recipe_has_forecasts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of links: of pictures that are there already there is nothing to ask."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "list.csv").write_text("file_name,caption\na.jpg,a dog\n")
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    flags = ["--source", str(tmp_path / "photos"), "--root", str(tmp_path / "root")]
    assert main(["vilt", "--forecast", *flags]) == 2
    assert "asks a sample of links, and there are none to ask" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("size", [("--size", "paper"), ("--size=paper",)], ids=" ".join)
def test_the_size_may_stand_anywhere(size: tuple[str, ...]) -> None:
    flags = ["--explain", "--train.steps", "3"]
    for place in (0, 1, 3):
        assert split_flag([*flags[:place], *size, *flags[place:]], "--size", "tiny") == ("paper", flags)
    assert split_flag(flags, "--size", "tiny") == ("tiny", flags)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_plan_at_the_size_of_its_paper(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which says what its settings suppose to be trained, where nothing is given to start from."""
    assert main([name, "--size", "paper", "--explain", "--root", str(tmp_path / "root")]) == 0
    told = capsys.readouterr().out
    for part in ("image", "text"):
        assert (f"{part}=SOURCE" in told) == (part in RECIPES[name].PAPER.starts)
    steps = [line.split()[0] for line in told.splitlines()]
    assert {"download", "select", "train", "evaluate"} < set(steps) and steps[-1] == "register"
    assert not (tmp_path / "root").exists()


def test_the_list_is_that_of_the_recipes_and_help_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out == f"{table()}\n"
    assert main(["--help"]) == 0
    assert "pretrain.py --list" in capsys.readouterr().out
