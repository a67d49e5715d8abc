"""Evaluation sets: identity, digests, and what is refused."""

import random
from pathlib import Path

import pytest

from tests.vlp_core.evals.builders import COLOURS, Row, classes_file, images_folder, picture, rows
from vlp_core.errors import UserError
from vlp_core.evals.evaluators import Suite
from vlp_core.evals.sets import read_retrieval, read_zero_shot
from vlp_core.evals.zero_shot import Classes
from vlp_core.identity import sha256_of

CLASSES = Classes(names=tuple(COLOURS), templates=("a {} picture",))


def test_two_urls_of_one_picture_are_one_picture_with_the_captions_of_both(tmp_path: Path) -> None:
    body, other = picture((9, 9, 9), 1), picture((99, 9, 9), 2)
    shards = [
        [Row(url="a", body=body, captions=["one", "shared"]), Row(url="b", body=None, captions=["lost"])],
        [Row(url="c", body=body, captions=["two", "one"]), Row(url="d", body=other, captions=["shared"])],
        [Row(url="e", body=picture((0, 0, 0), 3))],
    ]
    data = read_retrieval(images_folder(tmp_path / "set", shards))
    pairs = {(data.texts[text], data.identities[number]) for text, number in data.pairs.tolist()}
    assert data.texts == ["one", "shared", "two"]
    assert pairs == {(text, sha256_of(body)) for text in ("one", "shared", "two")} | {("shared", sha256_of(other))}
    assert [sha256_of(body) for body in data.pictures] == data.identities


@pytest.mark.parametrize("labelled", [False, True])
def test_a_digest_follows_content_and_not_order_or_urls(labelled: bool, tmp_path: Path) -> None:
    made = [row for row in rows(16) if row.body]
    moved = [Row(**{**vars(row), "url": f"{row.url}?again"}) for row in made]
    random.Random(1).shuffle(moved)

    def digest(name: str, shards: list[list[Row]]) -> str:
        folder = images_folder(tmp_path / name, shards, labelled=labelled)
        return read_zero_shot(folder, CLASSES).digest if labelled else read_retrieval(folder).digest

    first = digest("first", [made])
    assert digest("moved", [moved[:5], moved[5:]]) == first
    assert digest("fewer", [made[1:]]) != first
    changed = Row(**{**vars(made[0]), "captions": ("new words",), "label": "blue"})
    assert digest("changed", [[changed, *made[1:]]]) != first


def test_a_label_outside_the_classes_is_named_with_the_nearest(tmp_path: Path) -> None:
    folder = images_folder(tmp_path / "set", [rows(3)], labelled=True)
    with pytest.raises(UserError, match=r"label 'green' .* did you mean 'greens'\?"):
        read_zero_shot(folder, Classes(names=("red", "greens", "blue"), templates=("{}",)))


def test_what_no_evaluation_can_use_is_refused(tmp_path: Path) -> None:
    unlabelled = images_folder(tmp_path / "unlabelled", [rows(3)])
    silent = images_folder(tmp_path / "silent", [[Row(url="a", body=picture((1, 2, 3), 0))]])
    dead = images_folder(tmp_path / "dead", [[Row(url="a", body=None, label="red")]], labelled=True)
    with pytest.raises(UserError, match=r"no column 'label' .*captions"):
        read_zero_shot(unlabelled, CLASSES)
    with pytest.raises(UserError, match="no picture with a caption"):
        read_retrieval(silent)
    with pytest.raises(UserError, match="no picture to evaluate"):
        read_zero_shot(dead, CLASSES)
    with pytest.raises(UserError, match="no shards"):
        read_retrieval(tmp_path)
    with pytest.raises(UserError, match="nothing to evaluate on"):
        Suite.read(retrieval=None, zero_shot=None, classes=None)
    with pytest.raises(UserError, match="needs a file of classes"):
        Suite.read(retrieval=None, zero_shot=unlabelled, classes=None)


def test_the_data_digest_covers_every_set(tmp_path: Path) -> None:
    captioned = images_folder(tmp_path / "captioned", [rows(8)])
    labelled = images_folder(tmp_path / "labelled", [rows(8, seed=1)], labelled=True)
    classes, others = classes_file(tmp_path / "classes.json"), classes_file(tmp_path / "b.json", [*COLOURS, "white"])
    digests = {
        Suite.read(retrieval=captioned, zero_shot=None, classes=None).digest,
        Suite.read(retrieval=None, zero_shot=labelled, classes=classes).digest,
        Suite.read(retrieval=captioned, zero_shot=labelled, classes=classes).digest,
        Suite.read(retrieval=captioned, zero_shot=labelled, classes=others).digest,
    }
    assert len(digests) == 4
