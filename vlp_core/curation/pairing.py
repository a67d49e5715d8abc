"""What is alike among all fetched pictures: the same bytes, the same looks, near looks."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from vlp_core.curation.alike import Looks
from vlp_core.curation.copies import Alike, Rows
from vlp_core.curation.crowds import paired
from vlp_core.curation.settings import Near
from vlp_core.identity import generator
from vlp_core.uids import Words, firsts


def alike_among(
    uids: Words, sha256: Words, keys: Words, area: Rows, looks_at: Callable[[Rows], Looks], near: Near
) -> Alike:
    """What is alike among pictures [N], of which `uids`, `sha256` and `keys` of looks are names [N, 2].

    `looks_at` gives the looks of rows, and is asked for those that differ alone.
    """
    same = same_pictures(uids, sha256)
    own = np.flatnonzero(same == np.arange(len(same)))
    first = firsts(keys[own])
    distinct = np.flatnonzero(first == np.arange(len(first)))
    rows = own[distinct]
    stands, left, right = paired(lambda some: looks_at(rows[some]), len(rows), near)
    look = np.empty(len(same), np.int32)
    look[own] = rows[stands[np.searchsorted(distinct, first)]]
    places = rows.astype(np.int32)
    return Alike(same=same.astype(np.int32), look=look[same], area=area, left=places[left], right=places[right])


def same_pictures(uids: Words, sha256: Words) -> Rows:
    """[N]: the first row with the same bytes, or of the same url, over any number of steps from one to the other."""
    same, by_url = firsts(sha256), firsts(uids)
    while True:
        # A url that a folder holds twice joins the groups of its two answers.
        twice = np.flatnonzero(same != same[by_url])
        if not len(twice):
            return same
        ends = same[twice], same[by_url[twice]]
        joined = np.arange(len(same))
        np.minimum.at(joined, np.maximum(*ends), np.minimum(*ends))
        same = joined[same]


def look_keys(looks: Looks) -> Words:
    """[N, 2]: equal where all that is stored of the looks is.

    The perceptual hash, and two multilinear hashes of 32 bits of the rest (Lemire and Kaser, Strongly universal string
    hashing is fast, 2014).
    """
    rest = [getattr(looks, field.name) for field in fields(looks) if field.name != "phash"]
    letters = np.ascontiguousarray(np.concatenate(rest, axis=1)).view(np.uint32).astype(np.uint64)
    factors = generator("look").integers(0, 2**64, (2, letters.shape[1] + 1), dtype=np.uint64)
    high, low = (letters @ factor[1:] + factor[0] for factor in factors)
    return np.stack([looks.phash, high & ~np.uint64(2**32 - 1) | low >> np.uint64(32)], axis=1)
