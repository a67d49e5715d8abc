"""A system that has learnt four colours writes them under pictures and drops captions that name the wrong one."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from vlp_core.batch import Batch
from vlp_core.capfilt import SYNTHETIC, WEB, CapFilt, Pictures, bootstrap, match_probability
from vlp_core.data.samples import text_id
from vlp_core.data.tokens import WORDPIECE_FILE, Tokenizer, train_word_pieces, word_pieces
from vlp_core.errors import UserError
from vlp_core.identity import key_of
from vlp_core.recipes.blip import BLIP
from vlp_core.system import System

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 60, 220), "white": (240, 240, 240)}
TEXTS = {name: f"a {name} wall" for name in COLOURS}
SIZE = 32


def painted(names: list[str], seed: int = 0) -> Tensor:
    """uint8 [B, 3, SIZE, SIZE]: one colour and noise."""
    draw = torch.Generator().manual_seed(seed)
    plain = torch.tensor([COLOURS[name] for name in names])[:, :, None, None]
    return (plain + torch.randint(-15, 16, (len(names), 3, SIZE, SIZE), generator=draw)).clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    file: Path = tmp_path_factory.mktemp("pieces") / WORDPIECE_FILE
    train_word_pieces(list(TEXTS.values()) * 9, 60).save(str(file))
    return word_pieces(file, 10)


@pytest.fixture(scope="module")
def system(tokenizer: Tokenizer) -> System:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    built = BLIP(picture=(48, 2, 3), text=(48, 2, 3), patch=16, image_size=SIZE, queue=8).build(tokenizer.vocabulary)
    optimizer = torch.optim.AdamW(built.parameters(), lr=2e-3)
    names = list(COLOURS) * 4
    for step in range(80):
        batch = Batch(
            pixels=painted(names, seed=step),
            tokens=tokenizer([TEXTS[name] for name in names]),
            image_id=torch.arange(len(names)),
            text_id=torch.tensor([text_id(name) for name in names]),
            key=torch.tensor([key_of(step, row) - 2**63 for row in range(len(names))]),
            uid=[str(row) for row in range(len(names))],
        )
        optimizer.zero_grad()
        built(batch)["loss"].backward()
        optimizer.step()
    return built


NAMES = ["red", "green", "blue", "white", "blue"]
ASKED = Pictures(
    pixels=painted(NAMES, seed=1000),
    uid=[f"picture {row}" for row in range(5)],
    captions=[[TEXTS["red"]], [TEXTS["blue"]], [TEXTS["red"], TEXTS["blue"]], [], [TEXTS["white"], TEXTS["green"]]],
)


def captions(table: pa.Table, source: str) -> dict[str, list[str]]:
    return {row["uid"]: row["captions"] for row in table.to_pylist() if row["source"] == source}


def test_right_captions_are_kept_and_written_and_wrong_ones_dropped(system: System, tokenizer: Tokenizer) -> None:
    table = bootstrap(system, system, [ASKED], tokenizer, CapFilt(p=0.5))
    assert captions(table, WEB) == {"picture 0": [TEXTS["red"]], "picture 2": [TEXTS["blue"]]}
    assert captions(table, SYNTHETIC) == {f"picture {row}": [TEXTS[name]] for row, name in enumerate(NAMES)}
    assert table["uid"].to_pylist() == sorted(table["uid"].to_pylist())
    assert system.training


def test_how_pictures_are_put_into_batches_changes_nothing(system: System, tokenizer: Tokenizer) -> None:
    settings = CapFilt(p=1.0, least=0.0, seed=3)
    single = [
        Pictures(pixels=ASKED.pixels[row : row + 1], uid=[ASKED.uid[row]], captions=[ASKED.captions[row]])
        for row in range(5)
    ]
    table = bootstrap(system, system, [ASKED], tokenizer, settings)
    assert table.equals(bootstrap(system, system, single, tokenizer, settings))
    assert captions(table, WEB) == {uid: own for uid, own in zip(ASKED.uid, ASKED.captions, strict=True) if own}


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
        bootstrap(one, other, [ASKED], tokenizer, CapFilt())


def test_settings_that_are_no_shares_are_refused() -> None:
    for settings in ({"p": 9}, {"p": 0}, {"least": -1}):
        with pytest.raises(UserError, match=r"give a mass over 0 and up to 1"):
            CapFilt(**settings)
