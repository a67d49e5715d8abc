"""The pictures say what the scores say: frames, shares, and words that would trip a renderer."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from tests.vlp_core.evals.builders import COLOURS, Row, images_folder, picture, rows
from vlp_core.evals import pictures
from vlp_core.evals.retrieval import Scores
from vlp_core.evals.sets import read_retrieval, read_zero_shot
from vlp_core.evals.zero_shot import Classes


def share_of(path: Path, colour: str) -> float:
    """How much of a picture has exactly this colour."""
    pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return float((pixels == wanted).all(-1).mean())


def test_frames_are_green_where_right_and_red_where_wrong(tmp_path: Path) -> None:
    data = read_retrieval(images_folder(tmp_path / "set", [[row for row in rows(10) if row.body]]))
    images = torch.eye(len(data.identities))
    right = torch.zeros(len(data.texts), len(images))
    right[data.pairs[:, 0], data.pairs[:, 1]] = 1
    share = {}
    for name, texts in (("right", right), ("wrong", 1 - right)):
        path = tmp_path / f"{name}.png"
        pictures.draw_queries(path, data, Scores.of_vectors(images, normalize(texts, dim=-1)), rows=4)
        share[name] = share_of(path, pictures.RIGHT), share_of(path, pictures.WRONG)
    assert share["right"][0] > share["wrong"][0]
    assert share["right"][1] < share["wrong"][1]
    assert all(total > 0.005 for total in map(sum, share.values()))


def test_equal_inputs_draw_equal_bytes_and_any_caption_can_be_drawn(tmp_path: Path) -> None:
    words = ["a $5 \\frac{bill} on $x$", "w" * 300, " ", "猫 und Äpfel"]
    bodies = [Row(url=str(number), body=picture((number, 0, 0), number), captions=words) for number in range(3)]
    data = read_retrieval(images_folder(tmp_path / "set", [bodies]))
    for name in ("one", "two"):
        pictures.draw_queries(tmp_path / name, data, Scores.of(torch.ones(len(data.texts), 3)), rows=6)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("classes", [4, 60])
def test_classes_are_drawn_few_or_many(classes: int, tmp_path: Path) -> None:
    """A matrix when it can be read, else the weakest as bars; classes without a picture do no harm."""
    names = [*COLOURS, *(f"class ${number}" for number in range(classes - 4))]
    folder = images_folder(tmp_path / "set", [rows(20)], labelled=True)
    data = read_zero_shot(folder, Classes(names=tuple(names), templates=("{}",)))
    weights = torch.eye(classes)
    pictures.draw_classes(tmp_path / "right.png", data, weights[data.labels], weights)
    pictures.draw_classes(tmp_path / "wrong.png", data, weights[(data.labels + 1) % classes], weights)
    assert (tmp_path / "right.png").read_bytes() != (tmp_path / "wrong.png").read_bytes()
    if classes == 60:
        assert share_of(tmp_path / "right.png", pictures.BARS) > 0.02 > share_of(tmp_path / "wrong.png", pictures.BARS)
