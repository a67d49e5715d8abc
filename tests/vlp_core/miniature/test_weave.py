"""What the web holds: every fault, its truth, and the gap between copies and distinct pictures."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tests.vlp_core.curation.looks import colour_distance, looks
from vlp_core.curation.hashes import hamming
from vlp_core.curation.settings import Near
from vlp_core.identity import sha256_of, uid_of
from vlp_core.miniature import captions
from vlp_core.miniature.scenes import CLASSES, COLOURS, SHAPES, held_out_classes
from vlp_core.miniature.settings import Corpus
from vlp_core.miniature.weave import Web
from vlp_core.miniature.web import BADLY_CAPTIONED, COPIED, GOOD, KINDS, Page, Row


def pages_of(web: Web) -> dict[str, Page]:
    return {page.url: page for page in web.pages}


def pictures(web: Web) -> list[tuple[Row, bytes]]:
    """The rows of the lists whose url answers with a picture, and that picture."""
    pages = pages_of(web)
    found = []
    for row in web.rows:
        page = pages[row.url]
        body = pages[page.headers["Location"]].body if row.kind == "redirect" else page.body
        if body.startswith(b"\xff\xd8"):
            found.append((row, body))
    return found


@pytest.mark.parametrize("scenes", [40, 400])
def test_every_kind_is_there_at_its_rate(scenes: int) -> None:
    corpus = Corpus(scenes=scenes, retrieval=5, per_class=1, per_held_out_class=1)
    kinds = Counter(row.kind for row in Web(corpus).rows if row.list == "train")
    assert set(kinds) == set(KINDS)
    assert sum(kinds[kind] for kind in GOOD) == scenes
    for kind in set(KINDS) - {"good"}:
        assert kinds[kind] >= max(1, round(getattr(corpus, kind) * scenes))


def test_urls_and_pictures_are_unique_but_for_the_planted_copies(web: Web) -> None:
    urls = [page.url for page in web.pages]
    assert len(urls) == len(set(urls))
    assert all(page.url.split("/")[2].endswith(".test") for page in web.pages)
    distinct = [sha256_of(body) for row, body in pictures(web) if row.original is None]
    assert len(distinct) == len(set(distinct))


def test_good_pictures_are_large_enough_and_not_too_long(web: Web) -> None:
    for row, body in pictures(web):
        width, height = Image.open(io.BytesIO(body)).size
        if row.kind == "tiny":
            assert min(width, height) < 200
        else:
            assert min(width, height) >= 200
            assert max(width, height) <= 2 * min(width, height)


def test_held_out_combinations_are_seen_nowhere_in_training(web: Web) -> None:
    held_out = {str(kind) for kind in web.held_out}
    assert len(held_out) == web.corpus.held_out
    for row in web.rows:
        if row.list == "train":
            assert held_out.isdisjoint(row.scene.classes)
            for text in row.captions if row.caption_kind in ("good", "wrong") else ():
                words = text.lower()
                for kind in held_out:
                    colour, shape = kind.split()
                    near = [f"{a} {b}" for a in captions.COLOUR_WORDS[colour] for b in captions.SHAPE_WORDS[shape]]
                    assert not any(name in words for name in near), text
    shown = {row.scene.classes[0] for row in web.rows if row.list == "zero_shot"}
    assert shown == {str(kind) for kind in CLASSES}


@pytest.mark.parametrize("held_out", [0, 8, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_combinations_are_spread_over_shapes_and_colours(held_out: int, seed: int) -> None:
    kinds = held_out_classes(Corpus(held_out=held_out, seed=seed))
    assert len(set(kinds)) == held_out
    assert Counter(kind.shape for kind in kinds) == dict.fromkeys(SHAPES, held_out // 8) or held_out == 0
    assert Counter(kind.colour for kind in kinds) == dict.fromkeys(COLOURS, held_out // 8) or held_out == 0


def test_copies_look_like_their_originals_and_no_two_others_look_alike(web: Web) -> None:
    """By curation's own hashes and default thresholds, with room on both sides."""
    near = Near()
    found = pictures(web)
    phash, colour = looks([body for _, body in found])
    place = {uid_of(row.url): i for i, (row, _) in enumerate(found)}
    copies = [(i, place[row.original]) for i, (row, _) in enumerate(found) if row.original]
    assert len(copies) > 50
    left, right = np.array(copies).T
    assert hamming(phash[left], phash[right]).max() <= near.bits - 1
    assert colour_distance(colour[left], colour[right]).max() <= 0.5 * near.colour
    distinct = np.array([i for i, (row, _) in enumerate(found) if row.original is None])
    for i, one in enumerate(distinct[1:], 1):
        assert colour_distance(colour[distinct[:i]], colour[[one]]).min() > near.colour + 2


def test_copies_point_at_what_they_copy(web: Web) -> None:
    rows = {uid_of(row.url): row for row in web.rows}
    pages = pages_of(web)
    copies = [row for row in web.rows if row.original]
    assert {row.kind for row in copies} == {*COPIED, "leak"}
    for row in copies:
        original = rows[row.original]
        same = pages[row.url].body == pages[original.url].body
        assert original.list == ("train" if row.kind in COPIED else original.list)
        assert (original.list != "train") == (row.kind == "leak")
        assert row.scene == original.scene
        assert same if row.kind == "exact" else (row.kind == "leak" or not same)
    leaks = [pages[row.url].body == pages[rows[row.original].url].body for row in copies if row.kind == "leak"]
    assert any(leaks) and not all(leaks)


def test_bad_captions_say_nothing_true(web: Web) -> None:
    for row in web.rows:
        if row.kind not in BADLY_CAPTIONED:
            assert row.caption_kind == ("none" if row.list == "zero_shot" else "good")
        elif row.kind == "wrong":
            true = {word for name in row.scene.classes for word in name.split()}
            assert true.isdisjoint(row.captions[0].lower().rstrip(".").split())
        elif row.kind == "boilerplate":
            assert row.captions[0] in captions.BOILERPLATE


def test_retrieval_captions_are_unique(web: Web) -> None:
    texts = [text for row in web.rows if row.list == "retrieval" for text in row.captions]
    assert len(texts) == len(set(texts)) == 3 * web.corpus.retrieval
