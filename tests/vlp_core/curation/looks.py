"""What pictures look like, and how far apart two are, by the definitions of hashes and colours."""

from collections.abc import Sequence

import numpy as np

from vlp_core.curation.hashes import colours, phash, thumbnail


def looks(bodies: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Perceptual hashes [N] and colour signatures [N, 192]."""
    small = [thumbnail(body) for body in bodies]
    signatures = [np.frombuffer(colours(one), np.uint8) for one in small]
    return np.array([phash(one) for one in small]), np.stack(signatures)


def colour_distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The mean absolute difference of signatures [N, 192], in steps of 0 to 255."""
    return np.abs(left.astype(np.int16) - right.astype(np.int16)).mean(axis=1)
