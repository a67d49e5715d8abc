"""A system that has learnt four colours writes them under pictures and finds wrong captions unlikely."""

import pyarrow as pa
import pytest
import torch

from tests.vlp_core import walls
from tests.vlp_core.recipes.builders import WORDS
from tests.vlp_core.walls import TEXTS, painted
from vlp_core import capfilt
from vlp_core.batch import Batch
from vlp_core.capfilt import Pictures, caption, match_probability
from vlp_core.curation.settings import CapFilt, Captions
from vlp_core.data.tokens import Tokenizer
from vlp_core.errors import UserError
from vlp_core.nn.precision import Precision, autocast
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.system import System


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return walls.pieces(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="module")
def system(tokenizer: Tokenizer) -> System:
    return walls.trained(tokenizer)


NAMES = ["red", "green", "blue", "white", "blue"]
ASKED = Pictures(
    pixels=painted(NAMES, seed=1000),
    uid=[f"picture {row}" for row in range(5)],
    captions=[[TEXTS["red"]], [TEXTS["blue"]], [TEXTS["red"], TEXTS["blue"]], [], [TEXTS["white"], TEXTS["green"]]],
)


def matching(table: pa.Table) -> list[list[bool]]:
    return [[match >= 0.5 for match in row] for row in table["web_match"].to_pylist()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_right_captions_are_written_and_found_to_match_and_wrong_ones_are_not(
    precision: Precision, system: System, tokenizer: Tokenizer
) -> None:
    """A system that judges its own captions looks at each picture once."""
    seen: list[int] = []
    hook = system.model.image.register_forward_hook(lambda _module, _given, states: seen.append(len(states.states)))
    with autocast(torch.device("cpu"), precision):
        table = caption(system, system, [ASKED], tokenizer, Captions(p=0.5))
    hook.remove()
    assert seen == [len(ASKED.uid)]
    assert matching(table) == [[True], [False], [False, True], [], [False, False]]
    assert table["synthetic"].to_pylist() == [TEXTS[name] for name in NAMES]
    assert min(table["synthetic_match"].to_pylist()) >= 0.5
    assert table["uid"].to_pylist() == ASKED.uid
    assert system.training


def test_how_pictures_and_captions_are_put_into_batches_changes_nothing(
    system: System, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Captions(p=1.0, seed=3)
    single = [
        Pictures(pixels=ASKED.pixels[row : row + 1], uid=[ASKED.uid[row]], captions=[ASKED.captions[row]])
        for row in range(5)
    ]
    table = caption(system, system, [ASKED], tokenizer, settings)
    monkeypatch.setattr(capfilt, "TEXTS", 3)
    for other in ([ASKED], single):
        again = caption(system, system, other, tokenizer, settings)
        assert again.select(["uid", "synthetic"]).equals(table.select(["uid", "synthetic"]))
        for row, expected in zip(again["web_match"].to_pylist(), table["web_match"].to_pylist(), strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
    other = caption(system, system, [ASKED], tokenizer, Captions(p=1.0, seed=4))
    assert not other["synthetic"].equals(table["synthetic"])


def test_the_probability_is_that_of_the_matching_objective(system: System, tokenizer: Tokenizer) -> None:
    tokens, owner = tokenizer([TEXTS["red"], TEXTS["blue"], TEXTS["white"]]), torch.tensor([2, 2, 0])
    zeros = torch.zeros(3, dtype=torch.int64)
    batch = Batch(
        pixels=ASKED.pixels[owner], tokens=tokens, image_id=zeros, text_id=zeros, key=zeros, uid=["0", "1", "2"]
    )
    logits, labels = system.eval().objectives["itm"].predict(system.view(batch))
    expected = logits[: len(owner)].softmax(dim=1)[:, 1]
    assert labels[: len(owner)].tolist() == [1, 1, 1]
    torch.testing.assert_close(match_probability(system.train(), ASKED.pixels, tokens, owner), expected)


@pytest.mark.parametrize(("captioner", "judge", "says"), [("itm", "itm", "captioning"), ("lm", "lm", "matching")])
def test_systems_that_cannot_do_their_part_are_refused(
    system: System, tokenizer: Tokenizer, captioner: str, judge: str, says: str
) -> None:
    one, other = (System(system.model, {name: system.objectives[name]}) for name in (captioner, judge))
    with pytest.raises(UserError, match=f"{says} objective"):
        caption(one, other, [ASKED], tokenizer, Captions())


def test_recipes_that_say_so_can_bootstrap_their_captions() -> None:
    bootstraps = {name for name, module in RECIPES.items() if module.TINY.capfilt}
    assert "blip" in bootstraps
    assert bootstraps == {name for name, module in RECIPES.items() if module.PAPER.capfilt}
    for name in bootstraps:
        capfilt.check(RECIPES[name].TINY.system.build(WORDS), name)


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        (Captions, {"p": 9}, "captions.p 9: give a mass"),
        (Captions, {"p": 0}, "captions.p 0: give a mass"),
        (Captions, {"longest": 2}, "captions.longest 2: give 3 or more"),
        (Captions, {"batch_size": 0}, "captions.batch-size 0: give 1 or more"),
        (CapFilt, {"steps": 7, "threshold": -1}, "threshold -1: give a probability"),
        (CapFilt, {"steps": 0}, "steps 0: give 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, settings: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=f"^--capfilt.{says}"):
        kind(**settings)
