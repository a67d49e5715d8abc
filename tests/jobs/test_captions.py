"""Captions: of each selected picture what a model writes and how well its captions match, kept over a kill."""

import io
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from jobs import captions as stage
from tests.jobs.pictures import Picture, stored, write_images
from tests.vlp_core import walls
from tests.vlp_core.data.folders import write_selection
from tests.vlp_core.walls import COLOURS, TEXTS
from vlp_core.capfilt import match_probability
from vlp_core.curation.settings import Captions
from vlp_core.data.layout import CAPTIONED, read_shards
from vlp_core.data.tokens import WORDPIECE_FILE, Tokenizer, word_pieces
from vlp_core.errors import UserError
from vlp_core.generate import Nucleus, generate
from vlp_core.identity import key_of
from vlp_core.model_folder import write_folder
from vlp_core.recipes.catalogue import recipe_of
from vlp_core.sizes import config_of
from vlp_core.system import System
from vlp_core.tracker import Silent

NAMES = [list(COLOURS)[number % 4] for number in range(14)]
PICTURES = [
    Picture(url=f"http://h.test/{number}", body=None if number == 3 else walls.photo(name, number))
    for number, name in enumerate(NAMES)
]
CHOSEN = (0, 1, 2, 4, 5, 7, 13)
"""Of shards of four pictures: one that failed is not chosen, and none of the third shard."""
SETTINGS = Captions(p=0.95, seed=5, batch_size=2, workers=1)


def web_captions(number: int) -> list[str]:
    """The right one, and for some a wrong one before it."""
    right, wrong = TEXTS[NAMES[number]], TEXTS[NAMES[number + 1 - 4 * (number == 13)]]
    return [wrong, right] if number % 2 else [right]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return walls.pieces(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="module")
def system(tokenizer: Tokenizer) -> System:
    return walls.trained(tokenizer).eval()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, system: System, tokenizer: Tokenizer) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("captions")
    uids = [PICTURES[number].uid for number in CHOSEN]
    return {
        "model": walls.save(root / "model", system, tokenizer),
        "images": write_images(root / "images", PICTURES, shard_size=4),
        "selection": write_selection(root / "selection", uids, captions=[web_captions(row) for row in CHOSEN]),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, Path], cluster: str) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("made")
    return out, dict(stage.run(**inputs, captions=SETTINGS, out=out, tracker=Silent()).counts)


def pixels(picture: Picture) -> torch.Tensor:
    """uint8 [1, 3, 32, 32]"""
    assert picture.body is not None
    with Image.open(io.BytesIO(stored(picture.body, 64))) as image:
        small = image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]


def test_each_chosen_picture_has_what_the_model_writes_and_how_well_it_and_its_own_match(
    made: tuple[Path, dict], system: System, tokenizer: Tokenizer
) -> None:
    """As the library says of each by itself, from the pictures as training sees them."""
    out, counts = made
    assert {path.name for path in out.iterdir()} == {"00000.parquet", "00001.parquet", "00003.parquet"}
    table = read_shards(out)
    assert table.schema.equals(CAPTIONED) and table["uid"].to_pylist() == [PICTURES[number].uid for number in CHOSEN]
    for number, row in zip(CHOSEN, table.to_pylist(), strict=True):
        picture, uid = pixels(PICTURES[number]), PICTURES[number].uid
        keys = torch.tensor([key_of(SETTINGS.seed, "capfilt", uid) - 2**63])
        written = tokenizer.text(generate(system, picture, strategy=Nucleus(keys, SETTINGS.p))[0].tolist())
        assert row["synthetic"] == written
        texts = [*web_captions(number), written]
        expected = match_probability(system, picture, tokenizer(texts), torch.zeros(len(texts), dtype=torch.int64))
        assert [*row["web_match"], row["synthetic_match"]] == pytest.approx(expected.tolist(), abs=1e-4)
    matches = [match for row in table["web_match"].to_pylist() for match in row]
    assert counts["pictures"] == counts["captions/written"] == len(CHOSEN)
    assert counts["match/web"] == pytest.approx(np.mean(matches)) and 0.2 < counts["match/web"] < 0.8


def test_whole_tables_stay_and_damaged_ones_are_made_again(
    made: tuple[Path, dict], inputs: dict[str, Path], tmp_path: Path, cluster: str
) -> None:
    before = {path.name: path.read_bytes() for path in made[0].iterdir()}
    (tmp_path / "00000.parquet").write_bytes(before["00000.parquet"])
    (tmp_path / "00001.parquet").write_bytes(before["00000.parquet"])
    (tmp_path / "00003.parquet").write_bytes(before["00003.parquet"][:100])
    (tmp_path / ".00003.parquet.0a.tmp").write_bytes(b"half")
    kept_at = (tmp_path / "00000.parquet").stat().st_ino
    summary = stage.run(**inputs, captions=SETTINGS, out=tmp_path, tracker=Silent())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (tmp_path / "00000.parquet").stat().st_ino == kept_at
    assert summary.counts == made[1]


def test_a_table_of_other_captions_is_not_whole(made: tuple[Path, dict]) -> None:
    path = made[0] / "00000.parquet"
    rows = pq.read_table(path)
    selected = rows.append_column("captions", rows["web_match"])
    assert stage._is_whole(path, selected)
    assert not stage._is_whole(path, selected.set_column(4, "captions", [[["one"]] * len(rows)]))


@pytest.mark.parametrize(("recipe", "says"), [("albef", "writes no captions"), ("coca", "judges no pairs")])
def test_a_model_that_cannot_write_or_judge_is_refused_by_name(
    recipe: str, says: str, inputs: dict[str, Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sizes = recipe_of(recipe).system
    tokenizer.save(tmp_path)
    read = word_pieces(tmp_path / WORDPIECE_FILE, sizes.needs.length)
    write_folder(tmp_path, sizes.build(read.vocabulary).finished(), config_of(sizes))
    with pytest.raises(UserError, match=f"{tmp_path}: {recipe} {says}"):
        stage.run(**{**inputs, "model": tmp_path}, captions=SETTINGS, out=tmp_path, tracker=Silent())


@pytest.mark.parametrize(("gpus", "sizes"), [(0, [1] * 40), (2, [16, 16, 8]), (8, [5] * 8), (64, [1] * 40)])
def test_a_process_with_a_gpu_takes_several_shards_and_each_gpu_some(gpus: int, sizes: list[int]) -> None:
    """It ends with its task, and would load the model for each shard anew."""
    tasks = list(range(40))
    turns = stage._turns(tasks, gpus)
    assert [len(turn) for turn in turns] == sizes and [*chain(*turns)] == tasks
    assert stage._turns([], gpus) == []


def test_a_gpu_that_is_not_there_is_not_waited_for(inputs: dict[str, Path], tmp_path: Path, cluster: str) -> None:
    with pytest.raises(UserError, match="the cluster has no GPU"):
        stage.run(**inputs, captions=Captions(gpu=True), out=tmp_path, tracker=Silent())
