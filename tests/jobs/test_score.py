"""Scores by a model: a vector a picture and a cosine a caption, whichever model compares them, kept over a kill."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from jobs import prompts as prompts_stage
from jobs import score as stage
from tests.jobs import foreign
from tests.jobs.adopted import adopted
from tests.jobs.pictures import Picture, stored, write_images
from tests.vlp_core import walls
from tests.vlp_core.data.folders import broken
from tests.vlp_core.evals.builders import PREPROCESS, model_folder
from tests.vlp_core.walls import COLOURS, TEXTS
from vlp_core.curation.prompts import Prompt
from vlp_core.curation.score_settings import Score
from vlp_core.curation.scores import best_of, vectors_of
from vlp_core.data.layout import read_shards
from vlp_core.data.tokens import tokenizer_of
from vlp_core.dual_encoder import load_dual_encoder
from vlp_core.errors import UserError
from vlp_core.model_folder import read_config
from vlp_core.scorer import scorer_of
from vlp_core.tracker import Silent

NAMES = list(COLOURS)
WRONG = {name: TEXTS[NAMES[(number + 1) % 4]] for number, name in enumerate(NAMES)}
SETTINGS = Score(batch_size=3, workers=1)
PICTURES = [
    Picture(
        url=f"http://h.test/{number}",
        body=None if number == 3 else walls.photo(NAMES[number % 4], number),
        captions=() if number == 5 else (WRONG[NAMES[number % 4]], TEXTS[NAMES[number % 4]]),
    )
    for number in range(10)
]
FETCHED = [picture for picture in PICTURES if picture.body is not None]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of four pictures, one of which was not fetched and one of which has no caption."""
    return write_images(tmp_path_factory.mktemp("score") / "images", PICTURES, shard_size=4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("clip") / "model", 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, images: Path, clip: Path, cluster: str) -> Path:
    out = tmp_path_factory.mktemp("made")
    counts = stage.run(images=images, scorer=scorer_of(str(clip)), score=SETTINGS, out=out, tracker=Silent()).counts
    assert (counts["pictures/scored"], counts["captions/scored"]) == (9, 16)
    return out


@torch.no_grad()
def check_table(table: pa.Table, model: Any, tokenize: Callable, preprocess: dict) -> None:
    """Vectors and cosines are those that the model gives one by one."""
    transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
    assert table["uid"].to_pylist() == [picture.uid for picture in FETCHED]
    vectors = vectors_of(table["embedding"])
    for picture, cosines, vector in zip(FETCHED, table["clip"].to_pylist(), vectors, strict=True):
        assert picture.body is not None
        with Image.open(io.BytesIO(stored(picture.body, 64))) as image:
            expected = model.encode_image(transform(image.convert("RGB"))[None])[0]
        assert vector == pytest.approx(expected.numpy(), abs=1e-3)
        texts = [model.encode_text(tokenize([caption]))[0] for caption in picture.captions]
        assert cosines == pytest.approx([float(expected @ text) for text in texts], abs=1e-5)


def test_a_picture_has_its_vector_and_each_of_its_captions_its_cosine(made: Path, clip: Path) -> None:
    model, config = load_dual_encoder(clip)
    table = read_shards(made)
    check_table(table, model, tokenizer_of(config["tokenizer"]), PREPROCESS)
    best = best_of(table["clip"])
    assert np.isnan(best[4]) and best[0] == max(table["clip"][0].as_py())


def test_whole_tables_stay_and_damaged_ones_are_made_again(
    made: Path, images: Path, clip: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    (tmp_path / "00000.parquet").write_bytes(before["00000.parquet"])
    (tmp_path / "00001.parquet").write_bytes(before["00000.parquet"])
    (tmp_path / "00002.parquet").write_bytes(before["00002.parquet"][:100])
    kept_at = (tmp_path / "00000.parquet").stat().st_ino
    assert score_here(images, clip, tmp_path) == 9
    assert {path.name for path in tmp_path.iterdir()} == set(before)
    one, other = read_shards(made), read_shards(tmp_path)
    assert one["uid"].equals(other["uid"])
    for left, right in zip(one["clip"].to_pylist(), other["clip"].to_pylist(), strict=True):
        assert left == pytest.approx(right, abs=1e-5)  # another number of threads adds up otherwise
    assert (tmp_path / "00000.parquet").stat().st_ino == kept_at


def score_here(images: Path, model: Path, out: Path) -> int:
    """As an actor does, in this process: how many pictures there are."""
    score = stage._shard_scorer(scorer_of(str(model)).place, SETTINGS, False)
    return sum(score(stage._Task(images=images, name=name, out=out)) for name in ("00000", "00001", "00002"))


def test_a_system_with_towers_scores_and_is_asked_by_prompts(images: Path, tmp_path: Path, cluster: str) -> None:
    tokenizer = walls.pieces(tmp_path)
    torch.manual_seed(1)
    system = walls.SIZES.build(tokenizer.vocabulary).eval()
    model = walls.save(tmp_path / "model", system, tokenizer)
    score_here(images, model, tmp_path / "out")
    table = read_shards(tmp_path / "out")
    check_table(table, system.model, tokenizer, read_config(model)["preprocess"])

    asked = Prompt(name="quality", yes=(TEXTS["red"],), no=(TEXTS["blue"], TEXTS["green"]))
    inputs = {"scores": tmp_path / "out", "scorer": scorer_of(str(model)), "prompts": (asked,)}
    for _ in range(2):  # what is made stays
        counts = prompts_stage.run(**inputs, out=tmp_path / "asked", tracker=Silent()).counts
    with torch.no_grad():
        yes, no = (
            F.normalize(system.model.encode_text(tokenizer(texts)).mean(0), dim=0) for texts in (asked.yes, asked.no)
        )
        scale = float(system.model.scale())
    logits = scale * vectors_of(table["embedding"]) @ torch.stack([yes, no], dim=1).numpy()
    expected = torch.tensor(logits).softmax(1)[:, 0].numpy()
    assert read_shards(tmp_path / "asked")["quality"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert counts == {"pictures/asked": 9, "likely/quality": int((expected > 0.5).sum())}


def test_a_picture_that_cannot_be_decoded_is_named_with_its_shard(images: Path, clip: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "images")
    tar = tmp_path / "images" / "00001.tar"
    offset = pq.read_table(tmp_path / "images" / "00001_index.parquet")["offset"][0].as_py()
    body = bytearray(tar.read_bytes())
    body[offset : offset + 64] = b"<html>" + bytes(58)
    tar.write_bytes(body)
    with pytest.raises(UserError, match=r"00001\.tar: .* cannot be decoded") as refused:
        score_here(tmp_path / "images", clip, tmp_path)
    assert "\n" not in str(refused.value)


def test_so_is_one_that_was_adopted_whatever_its_decoder_raises(clip: Path, tmp_path: Path) -> None:
    foreign.write(tmp_path / "set", [3], stored={1: broken("chunk")})
    images = adopted(tmp_path / "set", tmp_path / "images")
    with pytest.raises(UserError, match=r"set/00000\.tar: the picture of \w{32} cannot be decoded .*--adopt\.decode"):
        score_here(images, clip, tmp_path)
