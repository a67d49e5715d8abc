"""Balancing over entries: what matches, how much of it stays, and that what is drawn is a pair's own."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlp_core.curation import entries as entries_module
from vlp_core.curation.balance import BALANCE_FILE, Balanced, balance, balanced
from vlp_core.curation.entries import read_entries
from vlp_core.errors import UserError
from vlp_core.files import wide
from vlp_core.tracker import Silent


def pairs(*captions: list[str], first: int = 0) -> pa.Table:
    uids = [f"{number:032x}" for number in range(first, first + len(captions))]
    return wide(pa.table({"uid": uids, "captions": pa.array(captions, pa.list_(pa.string()))}))


def balance_of(table: pa.Table, entries: list[str], t: int = 1000, seed: int = 0) -> Balanced:
    return balanced(table, pa.array(entries, pa.large_string()), t, seed)


@pytest.mark.parametrize(
    ("entry", "stands_in", "not_in"),
    [
        ("dog", "the dog's bone", "a hotdog"),
        ("red dog", "(red \tdog)", "red, dog"),
        ("Paris", "in Paris\u00a02024", "in paris"),
        ("rock & roll", "rock&roll!", "rock and roll"),
        ("mother-in-law", "my mother-in-law.", "my mother in law"),
        ("law", "my mother-in-law", "lawn"),
        ("U.S.", "the U.S.", "the US"),
        ("café", "un café, noir", "cafés"),
        ("犬 🐶", "犬🐶🐶", "犬"),
        ("  dog ", "dog", "dogs"),
    ],
)
def test_an_entry_matches_at_word_boundaries_with_its_signs_and_capitals(
    entry: str, stands_in: str, not_in: str
) -> None:
    found = balance_of(pairs([stands_in, not_in]), [entry])
    assert (found.before.tolist(), found.kept.tolist(), found.matched) == ([1], [True, False], 1)


def test_counts_are_those_of_a_slow_search_and_one_for_each_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among entries that begin, end or lie in others, over batches that end anywhere."""
    monkeypatch.setattr(entries_module, "BATCH", 7)
    draws = np.random.default_rng(0)
    entries = ["a", "b", "a b", "a b c", "b c", "c a", "c c c", "d", "a b c d e"]
    captions = [
        [" ".join(draws.choice(list("abc"), draws.integers(0, 9))) for _ in range(draws.integers(0, 4))]
        for _ in range(100)
    ]
    found = balance_of(pairs(*captions), entries, t=10**6)
    texts = [text for some in captions for text in some]
    slow = np.array([[bool(re.search(rf"\b{entry}\b", text)) for entry in entries] for text in texts])
    assert found.before.tolist() == found.after.tolist() == slow.sum(axis=0).tolist()
    assert found.kept.tolist() == slow.any(axis=1).tolist() and found.matched == slow.any(axis=1).sum()


def test_heads_are_cut_to_about_t_and_tails_stay_whole() -> None:
    captions = [["a photo"]] * 8000 + [["a photo of a zebra"]] * 50 + [["a zebra"]] * 30 + [["nothing known"]] * 10
    found = balance_of(pairs(*captions), ["photo", "zebra", "okapi"], t=400)
    assert found.before.tolist() == [8050, 80, 0]
    assert found.kept[8000:].tolist() == [True] * 80 + [False] * 10
    assert abs(found.kept[:8000].sum() - 8000 * 400 / 8050) < 100  # five deviations
    assert found.after.tolist() == [found.kept[:8050].sum(), 80, 0]


def test_what_is_drawn_belongs_to_seed_picture_and_entry() -> None:
    captions = [["a photo", "one more photo"]] * 300
    alone = balance_of(pairs(*captions), ["photo"], t=300)
    others = [["a sofa"]] * 7
    among = balance_of(pa.concat_tables([pairs(*others, first=900), pairs(*captions)]), ["sofa", "x", "photo"], t=300)
    assert 150 < alone.kept.sum() < 450 and (alone.kept[::2] == alone.kept[1::2]).all()
    assert (among.kept[7:] == alone.kept).all()
    assert (balance_of(pairs(*captions), ["photo"], t=300, seed=1).kept != alone.kept).any()


def test_a_picture_goes_with_its_last_caption_and_counts_are_written(tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text("dog\n\ncat\r\ndog\nokapi\n")
    table = pairs(["a dog", "buy now"], ["buy now"], [], ["a cat and a dog"]).append_column("n", pa.array(range(4)))
    kept = balance(table, tmp_path / "entries.txt", 1000, 0, tmp_path, Silent())
    assert kept["captions"].to_pylist() == [["a dog"], ["a cat and a dog"]]
    assert kept["n"].to_pylist() == [0, 3] and kept.schema == table.schema
    counts = pq.read_table(tmp_path / BALANCE_FILE).to_pylist()
    assert counts == [{"entry": "dog", "before": 2, "after": 2}, {"entry": "cat", "before": 1, "after": 1}]


def test_entries_come_from_a_json_list_too(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('["dog", " red dog ", "dog"]')
    assert read_entries(tmp_path / "metadata.json").to_pylist() == ["dog", "red dog"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.txt", None, "not a readable list"),
        ("empty.txt", b"\n \n", "no entries"),
        ("picture.txt", b"\xff\xd8\xff\xe0", "not a readable list"),
        ("cut.json", b'["dog"', "not a readable list"),
        ("object.json", b'{"dog": 1}', "not a JSON list"),
    ],
)
def test_what_is_no_list_of_entries_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as refused:
        read_entries(tmp_path / name)
    assert name in str(refused.value) and "\n" not in str(refused.value)
