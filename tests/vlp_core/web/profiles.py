"""ICC profiles made by hand (ICC.1:2001-04), and what their colours are in sRGB, worked out by matrices."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

D50 = (0.9642, 1.0, 0.8249)  # ICC.1:2001-04, 6.1.8
D65 = (0.3127, 0.3290)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def srgb_light(values: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: 0..1 as it is stored to light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_stored(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class Space:
    """Primaries and white in CIE xy, and what light a stored value is."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    light: Callable[[np.ndarray], np.ndarray]
    white: tuple[float, float] = D65

    @property
    def matrix(self) -> np.ndarray:
        """XYZ of light of the three primaries, of which as much as possible is white."""
        columns = np.stack([_xyz(*xy) for xy in (self.red, self.green, self.blue)], axis=1)
        return columns * np.linalg.solve(columns, _xyz(*self.white))

    def profile(self) -> bytes:
        """As a display's, version 2: three primaries as they are seen in D50, and a table of light."""
        primaries = _adapted(_xyz(*self.white)) @ self.matrix
        tags = {f"{name}XYZ".encode(): xyz(primaries[:, at]) for at, name in enumerate("rgb")}
        return made(b"RGB ", tags | {f"{name}TRC".encode(): curve(self.light) for name in "rgb"})

    def in_srgb(self, rgb: np.ndarray) -> np.ndarray:
        """Values 0..255 [..., 3] in sRGB, as they are clipped."""
        light = self.light(np.asarray(rgb) / 255) @ self.matrix.T
        return 255 * srgb_stored(light @ np.linalg.inv(SRGB.matrix).T)


def made(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """A profile of a colour space with these tags, and a white that is D50's."""
    tags = {b"wtpt": xyz(D50), **tags}
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(content))
        data += content
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"none", 0x02400000, kind, space, pcs)
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(65536 * value) for value in D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz(values: tuple[float, float, float] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))


def curve(light: Callable[[np.ndarray], np.ndarray]) -> bytes:
    values = np.rint(65535 * light(np.linspace(0, 1, 1024))).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.tobytes()


def grey_profile(light: Callable[[np.ndarray], np.ndarray]) -> bytes:
    return made(b"GRAY", {b"kTRC": curve(light)})


def ink_profile(colours: np.ndarray) -> bytes:
    """Of a printer: the sRGB colour of each set of whole inks, [2, 2, 2, 2, 3] by cyan, magenta, yellow and black."""
    to_d50 = _adapted(_xyz(*D65)) @ SRGB.matrix
    parts = srgb_light(colours.reshape(16, 3) / 255) @ to_d50.T / D50
    bent = np.where(parts > (6 / 29) ** 3, np.cbrt(parts), parts / (3 * (6 / 29) ** 2) + 4 / 29)  # CIE 1976
    lab = np.stack([116 * bent[:, 1] - 16, 500 * (bent[:, 0] - bent[:, 1]), 200 * (bent[:, 1] - bent[:, 2])], axis=1)
    grid = np.rint(lab * (652.8, 256, 256) + (0, 32768, 32768)).clip(0, 65535)
    straight = np.array([0, 65535], ">u2").tobytes()
    head = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
    table = head + struct.pack(">HH", 2, 2) + 4 * straight + grid.astype(">u2").tobytes() + 3 * straight
    return made(b"CMYK", {b"A2B0": table}, kind=b"prtr", pcs=b"Lab ")


def steps(count: int) -> bytes:
    """A tag of so many steps, which are one that makes all a little darker (ICC.1:2022, 10.2)."""
    step = b"matf\0\0\0\0" + struct.pack(">HH12f", 3, 3, *(0.999 * np.eye(3)).ravel(), 0, 0, 0)
    place = struct.pack(">II", 16 + 8 * count, len(step))
    return b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, count) + place * count + step


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1, (1 - x - y) / y])


def _adapted(white: np.ndarray) -> np.ndarray:
    """The matrix by which a white becomes D50 (Bradford)."""
    return np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ D50 / (_BRADFORD @ white)) @ _BRADFORD


SRGB = Space((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), srgb_light)
DISPLAY_P3 = Space((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), srgb_light)
ADOBE_RGB = Space((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), lambda values: values ** (563 / 256))
LINEAR = Space(SRGB.red, SRGB.green, SRGB.blue, lambda values: values)
