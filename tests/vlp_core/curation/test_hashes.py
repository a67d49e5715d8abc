"""Hashes and colours: steady under what the web does to a picture, apart for different pictures."""

import math
from itertools import combinations

import numpy as np
import pytest

from tests.vlp_core.curation.drawings import WAYS, altered, blotches, jpeg, shape
from tests.vlp_core.curation.looks import colour_distance, looks
from tests.vlp_core.data.folders import broken
from vlp_core.curation.hashes import colours, hamming, phash, thumbnail
from vlp_core.curation.settings import Near

PICTURES = [shape(kind, colour, place) for kind in (0, 2) for colour in (0, 2) for place in (0, 1)]
PICTURES += [blotches(seed) for seed in range(6)]


def apart(left: bytes, right: bytes) -> tuple[int, float]:
    hashes, signatures = looks([left, right])
    return int(hamming(hashes[:1], hashes[1:])[0]), float(colour_distance(signatures[:1], signatures[1:])[0])


@pytest.mark.parametrize("way", WAYS)
def test_an_altered_picture_is_near_itself(way: str) -> None:
    for image in PICTURES:
        bits, colour = apart(jpeg(image), altered(image, way))
        assert bits <= Near().bits and colour <= Near().colour, (way, bits, colour)


def test_different_pictures_are_not_near() -> None:
    for left, right in combinations([jpeg(image) for image in PICTURES], 2):
        bits, colour = apart(left, right)
        assert bits > Near().bits or colour > Near().colour


def test_the_colours_tell_apart_what_the_hash_alone_does_not() -> None:
    """The same drawing in a colour as dark: hardly a bit differs, so that the signature must decide."""
    bits, colour = apart(jpeg(shape(0, 0, 0)), jpeg(shape(0, 2, 0)))
    assert bits <= Near().bits and colour > Near().colour


@pytest.mark.parametrize("kind", ["cut", "chunk", "large"])
def test_what_cannot_be_decoded_is_told_as_such_whatever_its_decoder_raises(kind: str) -> None:
    with pytest.raises(OSError, match=r"."):
        thumbnail(broken(kind))


def test_the_hash_is_the_sign_of_low_frequencies() -> None:
    """Against sums written out from the definition of the DCT-II, on a picture whose coefficients stand well apart."""
    small = thumbnail(jpeg(blotches(3)))
    grey = small @ np.array([0.299, 0.587, 0.114])

    def coefficient(v: int, u: int) -> float:
        scale = (math.sqrt(1 / 32) if v == 0 else 0.25) * (math.sqrt(1 / 32) if u == 0 else 0.25)
        return scale * sum(
            grey[y, x] * math.cos(math.pi * v * (y + 0.5) / 32) * math.cos(math.pi * u * (x + 0.5) / 32)
            for y in range(32)
            for x in range(32)
        )

    found = [coefficient(v, u) for v in range(8) for u in range(8)]
    threshold = np.median(found[1:]) + 8
    expected = sum(1 << i for i, value in enumerate(found) if i and value > threshold)
    assert int(phash(small)) == expected


def test_colours_are_means_of_fields_row_by_row() -> None:
    small = np.zeros((32, 32, 3), dtype=np.uint8)
    small[4:8, 8:12] = (10, 20, 30)
    found = np.frombuffer(colours(small), np.uint8).reshape(8, 8, 3)
    assert found[1, 2].tolist() == [10, 20, 30]
    assert found.sum() == 60


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_any_mode_of_jpeg_becomes_rgb(mode: str) -> None:
    assert thumbnail(jpeg(blotches(0).convert(mode))).shape == (32, 32, 3)


def test_bytes_that_are_no_picture_are_an_error() -> None:
    with pytest.raises(OSError):
        thumbnail(b"<html>")
