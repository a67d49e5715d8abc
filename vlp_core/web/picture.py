"""A picture as it is stored: JPEG, seen as a person sees it, and no larger than is asked for."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING

from vlp_core.web.fit import Fit, fit, jpeg_part
from vlp_core.web.jpeg_file import only_picture
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import Header, NotAnImageError, refusal

if TYPE_CHECKING:
    import numpy as np

_LARGE = 8_000_000  # pixels; such pictures are decoded one at a time
# A JPEG is decoded to at least so much of the size it is stored in, and the rest is left to averaging over areas: at
# 1.5 the result is as close to that of the whole decode as another quality is (PSNR 36 dB on sharp photos).
_SPARE = 1.5
_TABLES_AND_PROFILE = 2**16  # bytes that a small JPEG may have beside its pixels


@dataclass(frozen=True)
class Stored:
    """A picture as it is stored: JPEG bytes, with its size before and after in pixels, upright."""

    jpeg: bytes
    width: int
    height: int
    original_width: int
    original_height: int


Store = Callable[[bytes, Header], Stored | str]


def make_store(fetch: Fetch) -> Store:
    """A function of a body and its header (`sniff`): the picture as it is stored, or why there is none (`reasons`).

    Safe in threads. It checks the bounds of `fetch` (pixels, frames) itself, before anything is decoded.
    """
    import cv2

    cv2.setNumThreads(1)
    one_large = Lock()

    def store(body: bytes, header: Header) -> Stored | str:
        reason = refusal(header, max_pixels=fetch.max_pixels, max_frames=fetch.max_frames)
        if reason is not None:
            return reason
        wanted = fit(*_seen_size(header), fetch)
        if wanted.is_too_large(fetch.max_pixels):
            return "too many pixels"
        with one_large if _pixels_at_once(header, wanted) > _LARGE else nullcontext():
            try:
                return _kept(body, header, wanted) or _made(body, header, wanted, fetch)
            except NotAnImageError as error:
                return str(error)
            except cv2.error:
                return f"undecodable: {header.kind}"

    return store


def _seen_size(header: Header) -> tuple[int, int]:
    return _swapped(header.width, header.height, header.orientation >= 5)


def _swapped(width: int, height: int, turned: bool) -> tuple[int, int]:
    return (height, width) if turned else (width, height)


def _pixels_at_once(header: Header, wanted: Fit) -> int:
    """The most pixels in memory while a body is decoded; a JPEG of several scans has all of them."""
    pixels = header.width * header.height
    if header.kind != "jpeg" or pixels <= _LARGE or header.several_scans:
        return pixels
    return pixels // jpeg_part(header, _least(header, wanted)) ** 2


def _least(header: Header, wanted: Fit) -> tuple[int, int]:
    """Size, as the header has it, below which a JPEG is not decoded."""
    return _swapped(ceil(wanted.width * _SPARE), ceil(wanted.height * _SPARE), header.orientation >= 5)


def _kept(body: bytes, header: Header, wanted: Fit) -> Stored | None:
    """A JPEG that fits as it is, without its metadata; None where it has to be made."""
    from vlp_core.web.decode import is_whole_jpeg

    size = header.width, header.height
    if header.kind != "jpeg" or header.orientation != 1 or header.depth != 8 or not wanted.keeps(*size):
        return None
    jpeg = only_picture(body)
    # More bytes than pixels have is no compression.
    if jpeg is None or len(jpeg) > 3 * header.width * header.height + _TABLES_AND_PROFILE:
        return None
    return Stored(jpeg, *size, *size) if is_whole_jpeg(jpeg, header) else None


def _made(body: bytes, header: Header, wanted: Fit, fetch: Fetch) -> Stored:
    """Decoded, scaled, brought to sRGB, turned, cut or filled to a square, and encoded."""
    import cv2

    from vlp_core.web.colours import as_srgb
    from vlp_core.web.decode import decoded

    turned = header.orientation >= 5
    pixels, profile = decoded(body, header, _least(header, wanted))
    if header.kind == "jpeg":
        original = _seen_size(header)
    else:  # what the header says may be of another page or a tile, or lie on its side
        original = _swapped(pixels.shape[1], pixels.shape[0], turned)
        wanted = fit(*original, fetch)
        if wanted.is_too_large(fetch.max_pixels):
            raise NotAnImageError("too many pixels")
    size = _swapped(wanted.width, wanted.height, turned)
    if size != (pixels.shape[1], pixels.shape[0]):
        smaller = wanted.width < original[0] or wanted.height < original[1]
        pixels = _smaller(pixels, size) if smaller else cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4)
    pixels = _square(_turned(as_srgb(pixels, profile), header.orientation), wanted.square)
    return Stored(_jpeg(pixels, fetch.encode_quality), pixels.shape[1], pixels.shape[0], *original)


def _smaller(pixels: "np.ndarray", size: tuple[int, int]) -> "np.ndarray":
    """Scaled to `size` (width, height) by averaging over areas.

    OpenCV's own averaging has no SIMD code but for whole factors: in its place the mean of four points between pixels
    makes each pixel, in two and a half times less time, where an area is a few pixels (PSNR 40 dB on sharp photos).
    """
    import cv2

    factors = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    if min(factors) > 1.2 and max(factors) <= 3:
        pixels = cv2.resize(pixels, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _turned(pixels: "np.ndarray", orientation: int) -> "np.ndarray":
    """As EXIF (CIPA DC-008, tag 274) says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _square(pixels: "np.ndarray", side: int | None) -> "np.ndarray":
    """The middle of what is larger, the middle of white for what is smaller."""
    import cv2

    if side is None:
        return pixels
    height, width = pixels.shape[:2]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    pixels = pixels[top : top + side, left : left + side]
    above, before = max(0, side - height) // 2, max(0, side - width) // 2
    below, after = max(0, side - height) - above, max(0, side - width) - before
    if not (above or below or before or after):
        return pixels
    return cv2.copyMakeBorder(pixels, above, below, before, after, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _jpeg(pixels: "np.ndarray", quality: int) -> bytes:
    import cv2

    # OpenCV's encoder takes libjpeg-turbo's accurate transform; simplejpeg's has only the quick one, and is no quicker.
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
