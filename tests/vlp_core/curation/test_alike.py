"""The second look: what was cropped, mirrored or written over is found, and what only resembles it is not."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from tests.vlp_core.curation.drawings import jpeg, shape
from tests.vlp_core.curation.test_near import listed
from vlp_core.curation import near as by_hash
from vlp_core.curation import neighbours
from vlp_core.curation.alike import Looks, between, pairs
from vlp_core.curation.hashes import colours, grey, phash, thumbnail
from vlp_core.curation.settings import Near
from vlp_core.identity import generator


def looks(pictures: Sequence[Image.Image]) -> Looks:
    small = [thumbnail(jpeg(picture)) for picture in pictures]

    def packed(columns: list[bytes]) -> np.ndarray:
        return np.stack([np.frombuffer(column, np.uint8) for column in columns])

    return Looks(
        np.array([phash(one) for one in small], np.uint64),
        packed([colours(one) for one in small]),
        packed([grey(one) for one in small]),
    )


def photo(seed: int) -> Image.Image:
    """Blotches at many scales, the finer the fainter, as light falls in photos."""
    rng = generator("photo", seed)
    total = np.zeros((96, 128, 3))
    for octave in range(5):
        fields = rng.normal(0, 60 / 1.7**octave, (3, 3 * 2**octave, 4 * 2**octave))
        fields = fields * 0.4 + fields.mean(axis=0)
        channels = [
            Image.fromarray(field.astype(np.float32)).resize((128, 96), Image.Resampling.BICUBIC) for field in fields
        ]
        total += np.stack(channels, axis=2)
    return Image.fromarray(np.clip(128 + total, 0, 255).astype(np.uint8))


def cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((width // 20, height // 20, width - width // 20, height - height // 20))


def written_over(picture: Image.Image) -> Image.Image:
    copy, (width, height) = picture.copy(), picture.size
    pencil = ImageDraw.Draw(copy)
    pencil.rectangle((0, 0.8 * height, width, height), fill=(0, 0, 0))
    pencil.text((5, 0.82 * height), "best prices", fill=(255, 255, 255), font_size=0.15 * height)
    return copy


WAYS = {"cropped": cropped, "mirrored": ImageOps.mirror, "written over": written_over}
PHOTOS = [photo(seed) for seed in range(12)]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_that_its_hash_does_not_show_is_found_and_no_other(way: str) -> None:
    copies, photos = looks([WAYS[way](photo) for photo in PHOTOS]), looks(PHOTOS)
    assert len(listed(by_hash.between(copies, photos, Near()))) < len(PHOTOS) / 2
    assert sorted(listed(between(copies, photos, Near()))) == [(row, row) for row in range(len(PHOTOS))]
    assert listed(between(copies, photos, Near(alike=1))) == listed(by_hash.between(copies, photos, Near()))


def test_a_lighter_copy_is_found_whichever_comes_first() -> None:
    lighter = looks([Image.fromarray((64 + np.asarray(photo) * 0.75).astype(np.uint8)) for photo in PHOTOS])
    for pair in ((looks(PHOTOS), lighter), (lighter, looks(PHOTOS))):
        assert len(listed(by_hash.between(*pair, Near()))) < len(PHOTOS) / 2
        assert sorted(listed(between(*pair, Near()))) == [(row, row) for row in range(len(PHOTOS))]


def test_a_shape_elsewhere_or_in_another_colour_is_no_copy() -> None:
    places = [shape(2, 0, place) for place in (0, 1, 3, 4)]  # 2 is 1 mirrored
    assert not listed(pairs(looks([*places, shape(2, 2, 0), shape(2, 2, 1)]), Near()))


def test_what_is_light_above_and_dark_below_is_no_copy_of_what_is_so_too() -> None:
    """A horizon correlates with any other: the details must, too."""
    step = np.where(np.arange(96) < 40, 70, -70)[:, None, None]
    horizons = [
        Image.fromarray((128 + step + (np.asarray(photo_) - 128.0) * 0.15).astype(np.uint8)) for photo_ in PHOTOS
    ]
    assert not listed(pairs(looks(horizons), Near()))


def test_pairs_come_once_in_a_fixed_order_near_ones_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many pictures in many leaves: nearly every pair that comparing all with all finds."""
    photos = [photo(seed) for seed in range(100)]
    all_ways = [lambda photo: photo, *WAYS.values()]
    known = looks([way(photo) for photo in photos for way in all_ways])
    whole = listed(pairs(known, Near()))
    assert all(i < j for i, j in whole) and len(set(whole)) == len(whole)
    near = listed(by_hash.within(known, Near()))
    assert whole[: len(near)] == near
    true = {(4 * row, 4 * row + way) for row in range(100) for way in (1, 2, 3)}
    assert len(true & set(whole)) >= 0.95 * len(true)
    assert not [pair for pair in whole if pair[0] // 4 != pair[1] // 4]
    monkeypatch.setattr(neighbours, "_ALL_WITH_ALL", 0)
    monkeypatch.setattr(neighbours, "_SAMPLE", 16)
    parted = listed(pairs(known, Near()))
    assert parted == listed(pairs(known, Near())) and set(parted) <= set(whole)
    assert len(parted) >= 0.9 * len(whole)


def test_a_picture_without_contrast_is_like_no_other() -> None:
    flat = [Image.new("RGB", (64, 64), (light, light, light)) for light in (20, 120, 220)]
    assert not listed(pairs(looks(flat), Near()))
