"""Pictures that show the same by their vectors (SemDeDup, Abbas et al., 2023, arXiv:2303.09540): clusters by k-means,
and near pairs within each.

Clusters are made in two levels: of n vectors each is compared with 2 √(n / size) centres and with those of its cluster,
not with n / size centres.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.scores import Floats

Rows = NDArray[np.int64]

ROUNDS = 20
SAMPLED = 256  # vectors a centre that k-means looks at
LARGEST = 4  # times the wanted size: a larger cluster is of vectors that k-means cannot part
BLOCK = 1024  # vectors compared at a time


def centres(vectors: Floats, count: int, seed: int) -> Floats:
    """Unit vectors [K, D] of spherical k-means over unit vectors [N, D]; K is N where that is smaller."""
    import faiss

    faiss.omp_set_num_threads(1)  # the order of sums is then fixed
    count = min(count, len(vectors))
    means = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=ROUNDS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLED,
    )
    means.train(np.ascontiguousarray(vectors))
    return np.asarray(means.centroids)


def nearest_centre(vectors: Floats, centres: Floats) -> Rows:
    """int64 [N]: which centre [K, D] each unit vector [N, D] is nearest to."""
    parts = range(0, len(vectors), BLOCK)
    found = [np.argmax(vectors[start : start + BLOCK] @ centres.T, axis=1) for start in parts]
    return np.concatenate([np.empty(0, np.int64), *found])


def clusters(vectors: Floats, size: int, seed: int) -> Iterator[Rows]:
    """The rows of each cluster of unit vectors [N, D], of about `size` in the mean."""
    if len(vectors) <= size:
        yield np.arange(len(vectors))
        return
    label = nearest_centre(vectors, centres(vectors, round(len(vectors) / size), seed))
    order = np.argsort(label, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        pieces = 1 if len(rows) <= LARGEST * size else -(-len(rows) // size)
        yield from np.array_split(rows, pieces)


def near_pairs(vectors: Floats, least: float) -> Iterator[tuple[Rows, Rows, Floats]]:
    """Pairs i < j of unit vectors [N, D] whose cosine is over `least`, and that cosine, in chunks."""
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        for other in range(start, len(vectors), BLOCK):
            cosines = block @ vectors[other : other + BLOCK].T
            if other == start:
                cosines[np.tril_indices(len(block))] = -2
            left, right = np.nonzero(cosines > least)
            yield left + start, right + other, cosines[left, right]
