"""Which pictures make a data set: which evaluation has already, how many are kept, and the digest of it all."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.curation.near import Looks, Rows, between
from vlp_core.curation.settings import Near
from vlp_core.identity import canonical_json, key_of


def matches(looks: Looks, sha256: pa.Array, others: Looks, other_sha256: pa.Array, near: Near) -> tuple[Rows, Rows]:
    """For each picture the first of the others with its bytes, else the first that is near (-1: none); bytes or not."""
    exact = pc.fill_null(pc.index_in(sha256, value_set=other_sha256), -1).to_numpy().astype(np.int64)
    found = np.full(len(exact), len(others), dtype=np.int64)
    for mine, theirs in between(looks, others, near):
        np.minimum.at(found, mine, theirs)
    found[found == len(others)] = -1
    same = exact >= 0
    return np.where(same, exact, found), same


def first_in_order(uids: list[str], seed: int, at_most: int) -> Rows:
    """The rows of the first `at_most` uids in the order of a seed, which does not depend on which others there are."""
    places = np.fromiter((key_of(seed, uid) for uid in uids), dtype=np.uint64, count=len(uids))
    return np.sort(np.argsort(places, kind="stable")[:at_most])


def selection_digest(table: pa.Table) -> str:
    """sha256 over uid, weight, captions and sha256 of the rows by uid: of what is selected, not of how it is stored."""
    digest = hashlib.sha256()
    for batch in table.select(["uid", "weight", "captions", "sha256"]).sort_by("uid").to_batches(max_chunksize=10_000):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()
