"""Colours as an ICC profile means them, brought to sRGB: what a person sees where profiles are honoured."""

import io
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from threading import Lock

import cv2
import numpy as np
from PIL import Image, ImageCms

MOST_BYTES = 2**22
"""Of a profile; those of printers have half of that. Firefox takes as many."""

_KEPT = 32  # what has been made of a profile is up to 2 MB large
_HEAD, _TAG, _MOST_TAGS = 132, 12, 100  # bytes up to the tags, bytes of one, and how many Little CMS takes
_KINDS = (b"mntr", b"scnr", b"prtr", b"spac")
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_SPACES = {1: (b"GRAY", b"RGB "), 3: (b"RGB ",), 4: (b"CMYK",)}  # by the channels of a picture
# Steps of any number and order (ICC.1:2022, 10.2): a few bytes each cost all colours a pass. Browsers do not read them.
_STEPS = b"D2B"
_ALIKE = 2  # levels by which sRGB differs from maker to maker
_GREYS = np.arange(256, dtype=np.uint8)
_SAMPLE = np.stack(np.meshgrid(*[_GREYS[::15]] * 3), axis=-1).reshape(1, -1, 3)

Convert = Callable[[np.ndarray], np.ndarray]


def as_srgb(pixels: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Pixels in sRGB: uint8 (height, width, 3) in BGR, or (height, width); those of four channels are inks, inverted
    (see `from_inks`). A profile that is broken, or of other channels, says nothing, as in browsers."""
    convert = None if profile is None else _conversions.of(profile, 1 if pixels.ndim == 2 else pixels.shape[2])
    if convert is not None:
        return convert(pixels)
    return from_inks(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels


def from_inks(pixels: np.ndarray) -> np.ndarray:
    """BGR of CMYK, inverted as Adobe's files have it; browsers show those without its mark in the same way."""
    key = pixels[..., 3]
    return cv2.merge([cv2.multiply(pixels[..., ink], key, scale=1 / 255) for ink in (2, 1, 0)])


class Conversions:
    """What is made of profiles, of which few are on most pictures: the last `most` that came. Safe in threads."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most, self._lock = most, Lock()
        self._made: OrderedDict[tuple[bytes, int], Convert | None] = OrderedDict()

    def of(self, profile: bytes, channels: int) -> Convert | None:
        """None where pixels stay as they are."""
        if len(profile) > MOST_BYTES:
            return None
        key = sha256(profile).digest(), channels
        with self._lock:  # also while it is made: pictures of one profile come together
            if key not in self._made:
                self._made[key] = _conversion(profile, channels)
            self._made.move_to_end(key)
            if len(self._made) > self._most:
                self._made.popitem(last=False)
            return self._made[key]


def _conversion(profile: bytes, channels: int) -> Convert | None:
    if not _is_fit(profile, channels):
        return None
    mode = _MODES[profile[16:20]]
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))  # one each: threads share no profile
        transform = ImageCms.ImageCmsTransform(given, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
    except (OSError, ValueError):
        return None

    def converted(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(transform.apply(Image.fromarray(pixels, mode)))

    if channels == 4:
        return lambda pixels: cv2.cvtColor(converted(255 - pixels), cv2.COLOR_RGB2BGR)
    if channels == 3:
        if _are_alike(converted(_SAMPLE), _SAMPLE):
            return None
        return lambda pixels: cv2.cvtColor(converted(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)), cv2.COLOR_RGB2BGR)
    greys = _GREYS[None] if mode == "L" else cv2.cvtColor(_GREYS[None], cv2.COLOR_GRAY2RGB)
    table = cv2.cvtColor(converted(greys), cv2.COLOR_RGB2GRAY)[0]
    return None if _are_alike(table, _GREYS) else lambda pixels: cv2.LUT(pixels, table)


def _is_fit(profile: bytes, channels: int) -> bool:
    """Whether it says of itself that it is a device's, of these channels, and nothing in it takes long to read."""
    tags = range(_HEAD, _HEAD + _TAG * min(_MOST_TAGS, int.from_bytes(profile[_HEAD - 4 : _HEAD])), _TAG)
    return (
        profile[36:40] == b"acsp"
        and profile[12:16] in _KINDS
        and profile[16:20] in _SPACES[channels]
        and not any(profile.startswith(_STEPS, at) for at in tags)
    )


def _are_alike(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(cv2.absdiff(one, other).max() <= _ALIKE)


_conversions = Conversions()
