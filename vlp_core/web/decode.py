"""Bodies decoded to the pixels that a person sees: JPEG by libjpeg-turbo, all else by Pillow."""

import io
import warnings
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from vlp_core.web import jpeg_file, png_file
from vlp_core.web.colours import as_srgb, from_inks
from vlp_core.web.fit import jpeg_part
from vlp_core.web.sniff import Header, NotAnImageError

Image.init()  # as the first picture would, which two threads cannot do at once
warnings.filterwarnings("ignore", module="PIL")  # of tags and palettes of the web: the picture counts

# What libjpeg says of files that are whole all the same; browsers show them as they are meant.
_HARMLESS = ("extraneous bytes before marker", "unknown JFIF revision", "Unknown Adobe color transform")
# A broken profile is no fault of its picture, which libjpeg and Pillow would refuse with it.
_BROKEN_PROFILE = "bad ICC marker"
_WITHOUT_PROFILE = {"jpeg": jpeg_file.without_profile, "png": png_file.without_profile}
_WHITE_IS_ZERO = 0
_ROWS = 256  # of a picture with alpha at a time: the colours of all at once would take as much memory again


class Decoded(NamedTuple):
    """Pixels, not yet turned by EXIF (but for TIFF): uint8 (height, width, 3) in BGR, or (height, width).

    Where there is a `profile`, it says what their colours are (`as_srgb`), which costs less once they are fewer; inks
    are then left as they are: (height, width, 4), inverted.
    """

    pixels: np.ndarray
    profile: bytes | None = None


def decoded(body: bytes, header: Header, least: tuple[int, int]) -> Decoded:
    """What a body shows.

    A JPEG may come smaller than it is, by a half, a quarter or an eighth, with no side below `least` (width, height).
    Alpha lies on white; of several frames it is the first. Raises NotAnImageError for what is cut short or broken.
    """
    try:
        if header.kind == "jpeg":
            return _jpeg(body, header, least)
        return _by_pillow(body, header)
    except NotAnImageError:
        raise
    except Exception:  # of broken files Pillow raises whatever comes: OSError, SyntaxError, struct.error, …
        raise NotAnImageError(f"undecodable: {header.kind}") from None


def is_whole_jpeg(body: bytes, header: Header) -> bool:
    """Whether a JPEG in grey, YCbCr or RGB decodes to its end: all its codes are read, few are made pixels."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(body)
        if (width, height) != (header.width, header.height) or space not in ("Gray", "YCbCr", "RGB"):
            return False
        simplejpeg.decode_jpeg(body, "GRAY", min_height=1, min_width=1)
    except (ValueError, KeyError, RuntimeError):  # KeyError: of colour spaces it has no name for
        return False
    return True


def _jpeg(body: bytes, header: Header, least: tuple[int, int]) -> Decoded:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(body)
        if (width, height) != (header.width, header.height):
            raise NotAnImageError("broken header: jpeg")
        wanted = "CMYK" if space in ("CMYK", "YCCK") else "GRAY" if space == "Gray" else "BGR"
        part = jpeg_part(header, least)  # of the scales that are no smaller, simplejpeg takes the smallest
        size = {"min_width": -(-width // part), "min_height": -(-height // part)}
        pixels = simplejpeg.decode_jpeg(body, wanted, **size)
    except ValueError as error:
        if any(text in str(error) for text in (*_HARMLESS, "subsampling level")):
            return _by_pillow(body, header)
        if _BROKEN_PROFILE in str(error):
            return _jpeg(jpeg_file.without_profile(body)[0], header, least)
        raise
    profile = jpeg_file.profile_of(body)
    if wanted == "CMYK" and profile is None:
        return Decoded(from_inks(pixels))
    return Decoded(pixels[..., 0] if wanted == "GRAY" else pixels, profile)


def _by_pillow(body: bytes, header: Header) -> Decoded:
    profile = None
    if header.kind in _WITHOUT_PROFILE:
        body, profile = _WITHOUT_PROFILE[header.kind](body)
    with Image.open(io.BytesIO(body), formats=[header.kind.upper()]) as image:
        if image.width * image.height > header.width * header.height:
            raise NotAnImageError(f"broken header: {header.kind}")
        image.load()
        given = image.info.get("icc_profile")
        found = _as_seen(image, header.depth, profile or (given if isinstance(given, bytes) else None))
        if isinstance(image, GifImageFile) and image.dispose_extent is not None:
            return Decoded(_on_white(found.pixels, image.dispose_extent))
        return found


def _on_white(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Nothing is around a frame that is smaller than its GIF; Pillow puts its first colour there."""
    left, top, right, bottom = box
    if (bottom - top, right - left) == pixels.shape[:2]:
        return pixels
    white = np.full_like(pixels, 255)
    white[top:bottom, left:right] = pixels[top:bottom, left:right]
    return white


def _as_seen(image: Image.Image, depth: int, profile: bytes | None) -> Decoded:
    """8 bits a channel, on white. Of numbers beyond 16 bits nobody says what is white: they are refused."""
    if image.mode.startswith("I;16"):
        return Decoded(_from_16_bits(image, depth), profile)
    if image.mode in ("I", "F"):
        raise ValueError(image.mode)
    if image.has_transparency_data:
        clear = image.info.get("transparency")
        if depth == 16 and isinstance(clear, tuple):  # the pixels have lost theirs
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        elif depth in (2, 4) and image.mode == "L" and isinstance(clear, int):  # the pixels are spread over eight bits
            most = 2**depth - 1
            image.info["transparency"] = (clear & most) * (255 // most)
        image, profile = _on_white_as_seen(image, profile), None
    if image.mode == "CMYK" and profile is not None:
        return Decoded(255 - np.asarray(image), profile)
    if image.mode in ("1", "L"):
        return Decoded(np.asarray(image.convert("L")), profile)
    return Decoded(_bgr(image), profile)


def _on_white_as_seen(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB. What shines through mixes with white as it is seen, after its colours have become sRGB."""
    grey = image.mode in ("1", "L", "LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, _ROWS):
        part = image.crop((0, top, image.width, min(image.height, top + _ROWS)))
        alpha = part.getchannel("A")
        if profile is not None:
            seen = as_srgb(np.asarray(part.getchannel("R")) if grey else _bgr(part), profile)
            part = Image.fromarray(cv2.cvtColor(seen, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB))
        white.paste(part, (0, top), alpha)
    return white


def _bgr(image: Image.Image) -> np.ndarray:
    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR)


def _from_16_bits(image: Image.Image, depth: int) -> np.ndarray:
    deep = np.asarray(image)
    grey = np.right_shift(deep, max(0, depth - 8)).astype(np.uint8)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        grey = 255 - grey  # as Pillow does with fewer bits
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[deep == clear] = 255
    return grey
