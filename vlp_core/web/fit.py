"""The size a picture is stored in, known before it is decoded: img2dataset's resize modes (its resizer.py)."""

from dataclasses import dataclass

from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import Header

_MOST_SIDE = 65_500  # pixels; libjpeg's JPEG_MAX_DIMENSION
_SHORTER_SIDE = ("keep_ratio", "center_crop")


@dataclass(frozen=True)
class Fit:
    """Size in pixels that a picture is scaled to; then the side of a square, cut out of it or filled up with white."""

    width: int
    height: int
    square: int | None = None

    def keeps(self, width: int, height: int) -> bool:
        """Whether a picture of this size already fits."""
        squared = self.square is None or (width, height) == (self.square, self.square)
        return squared and (width, height) == (self.width, self.height)

    def is_too_large(self, max_pixels: int) -> bool:
        """A line of 1 × 10,000 pixels that is made larger grows beyond all bounds."""
        return self.width * self.height > max_pixels or max(self.width, self.height) > _MOST_SIDE


def fit(width: int, height: int, fetch: Fetch) -> Fit:
    """What becomes of an upright picture of this size."""
    shorter = fetch.resize_mode in _SHORTER_SIDE
    side = min(width, height) if shorter else max(width, height)
    if fetch.resize_mode == "no" or (fetch.resize_only_if_bigger and side <= fetch.image_size):
        return Fit(width, height)
    scale = fetch.image_size / side
    return Fit(
        max(1, round(width * scale)),
        max(1, round(height * scale)),
        fetch.image_size if fetch.resize_mode in ("center_crop", "border") else None,
    )


def jpeg_part(header: Header, least: tuple[int, int]) -> int:
    """The divisor by which a JPEG is shrunk while it is decoded, with no side below `least` (width, height).

    Powers of two: for the scales between them libjpeg-turbo has no SIMD code, and the next larger one is quicker.
    """
    sides = tuple(zip((header.width, header.height), least, strict=True))
    return next((part for part in (8, 4, 2) if all(-(-side // part) >= enough for side, enough in sides)), 1)
