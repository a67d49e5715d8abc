"""The pictures of two folders in img2dataset's layout, compared."""

import json
import tarfile
from collections.abc import Sequence, Set
from pathlib import Path

import cv2
import numpy as np


def psnr(one: Path, other: Path, numbers: Sequence[int]) -> str:
    """Mean and least PSNR in dB between the pictures that two folders have of the links of these numbers."""
    pictures = [_pictures(folder, set(numbers)) for folder in (one, other)]
    assert pictures[0].keys() == pictures[1].keys() and len(pictures[0]) == len(numbers)
    found = [_decibels(pictures[0][url], pictures[1][url]) for url in pictures[0]]
    return f"{np.mean(found):.1f} dB (least {min(found):.1f})"


def _pictures(folder: Path, numbers: Set[int]) -> dict[str, bytes]:
    """Stored pictures by url, of links of these numbers."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            contents = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            for name, file in contents.items():
                if name.endswith(".json") and file:
                    url = json.load(file)["url"]
                    jpeg = contents[name.removesuffix("json") + "jpg"]
                    if int(Path(url).stem) in numbers and jpeg:
                        found[url] = jpeg.read()
    return found


def _decibels(one: bytes, other: bytes) -> float:
    first, second = (
        cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).astype(float) for body in (one, other)
    )
    return float(10 * np.log10(255**2 / max(1e-9, ((first - second) ** 2).mean())))
