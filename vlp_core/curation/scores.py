"""Columns that a model gives: the cosine of a picture with each of its captions, and the picture's vector.

uid        as in IMAGES
clip       list<float>, along the row's captions
embedding  fixed-size binary: D little-endian float16 of a unit vector (a list of halves takes ten times as long to
           read, and a picture's is read as a whole or not at all)
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CLIP, EMBEDDING = "clip", "embedding"


def score_table(uids: pa.ChunkedArray, captions: pa.ListArray, cosines: Floats, vectors: Floats) -> pa.Table:
    """The columns of N pictures: `cosines` [captions] are of all captions one after the other, `vectors` [N, D]."""
    clip = pa.ListArray.from_arrays(captions.offsets, pa.array(cosines, pa.float32()))
    return pa.table({"uid": uids, CLIP: clip, EMBEDDING: embeddings(vectors)})


def embeddings(vectors: Floats) -> pa.FixedSizeBinaryArray:
    """Unit vectors [N, D] as they are stored."""
    halves = np.ascontiguousarray(vectors, dtype="<f2")
    return pa.Array.from_buffers(pa.binary(2 * vectors.shape[1]), len(vectors), [None, pa.py_buffer(halves)])


def vectors_of(column: pa.ChunkedArray) -> Floats:
    """Unit vectors float32 [N, D] out of what is stored."""
    stored = column.combine_chunks()
    width = stored.type.byte_width // 2
    start = stored.offset * width
    halves = np.frombuffer(stored.buffers()[1] or b"", "<f2")[start : start + len(stored) * width].reshape(-1, width)
    vectors = halves.astype(np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def best_of(clip: pa.ChunkedArray) -> Floats:
    """float32 [N]: the highest cosine of each picture's captions; nan where it has none."""
    lists = clip.combine_chunks()
    best = np.full(len(lists), -np.inf, np.float32)
    np.maximum.at(best, pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy(zero_copy_only=False))
    return np.where(np.isinf(best), np.float32(np.nan), best)
