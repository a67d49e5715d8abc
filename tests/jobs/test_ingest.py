"""Ingest: lists of every format become the same pairs; what cannot be read is named."""

import csv
import gzip
import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import ingest
from vlp_core.curation import formats as formats_module
from vlp_core.curation import pairs as pairs_module
from vlp_core.curation.settings import Ingest
from vlp_core.data.layout import PAIRS, read_shards, shard_names
from vlp_core.errors import UserError
from vlp_core.identity import key_of, uid_of
from vlp_core.tracker import Silent, Summary

ROWS = [(f"http://site.test/{number % 7}.jpg", f'caption {number}, "quoted"') for number in range(20)]


def take(sources: Path | tuple[Path, ...], out: Path, **settings: object) -> tuple[pa.Table, Summary]:
    out.mkdir(parents=True, exist_ok=True)
    summary = ingest.run(sources=sources, ingest=Ingest(**settings), out=out, tracker=Silent())  # type: ignore[arg-type]
    return read_shards(out), summary


def write(path: Path, rows: list[tuple], names: tuple[str, ...] = ("url", "caption")) -> Path:
    """A list in the format that the path's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.name.removesuffix(".gz")
    opened = gzip.open if path.suffix == ".gz" else open
    if plain.endswith(".parquet"):
        pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), path)
        return path
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        if plain.endswith(".jsonl"):
            file.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        elif plain.endswith(".tsv"):
            file.writelines("\t".join(map(str, row)) + "\n" for row in [names, *rows])
        else:
            csv.writer(file).writerows([names, *rows])
    return path


def expected(rows: list[tuple[str, str]], seed: int = 0) -> list[dict]:
    """The pairs, merged one by one."""
    merged: dict[str, list[str]] = {}
    for url, caption in rows:
        if caption not in merged.setdefault(url, []):
            merged[url].append(caption)
    found = [{"uid": uid_of(url), "url": url, "captions": captions} for url, captions in merged.items()]
    return sorted(found, key=lambda row: key_of(seed, row["uid"]))


@pytest.mark.parametrize(
    "name", ["list.parquet", "list.csv", "list.csv.gz", "list.tsv", "list.jsonl", "list.jsonl.gz", "LIST.CSV"]
)
def test_every_format_gives_the_same_pairs(tmp_path: Path, name: str) -> None:
    found, summary = take(write(tmp_path / name, ROWS), tmp_path / "out")
    assert found.schema.equals(PAIRS)
    assert found.select(["uid", "url", "captions"]).to_pylist() == expected(ROWS)
    assert set(found["source"].to_pylist()) == {name.split(".")[0]}
    assert summary.counts["rows/read"] == 20 and summary.counts["pairs/urls"] == 7


texts = st.sampled_from(["a dog", "b", "ein Hund", "", "  ", None])
lists = st.lists(st.tuples(st.sampled_from([f"http://h.test/{i}" for i in range(9)]), texts), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(rows=lists, cuts=st.lists(st.integers(0, 40), max_size=3), swap=st.randoms(use_true_random=False))
def test_pairs_do_not_depend_on_the_order_of_rows_or_how_files_part_them(rows: list, cuts: list[int], swap) -> None:
    """The same rows in the seeded order with the same captions; ordered lists give ordered captions."""
    good = [(url, text.strip()) for url, text in rows if text and text.strip()]
    if not good:
        return
    with TemporaryDirectory() as folder:
        edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        parts = [rows[a:b] for a, b in pairwise(edges)]
        files = [
            write(Path(folder) / f"{i}.parquet", part or [("http://none.test/", None)]) for i, part in enumerate(parts)
        ]
        found, summary = take(tuple(files), Path(folder) / "split")
        assert found.select(["uid", "url", "captions"]).to_pylist() == expected(good)
        assert summary.counts["pairs/captions"] == len(set(good))
        shuffled = list(rows)
        swap.shuffle(shuffled)
        again, _ = take(write(Path(folder) / "all.parquet", shuffled), Path(folder) / "shuffled")
        assert again["uid"].equals(found["uid"])
        assert [set(c) for c in again["captions"].to_pylist()] == [set(c) for c in found["captions"].to_pylist()]


def test_many_buckets_and_shards_give_the_pairs_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"http://site.test/{number * number % 501}.jpg", f"caption {number}") for number in range(1500)]
    source = write(tmp_path / "list.parquet", rows)
    monkeypatch.setattr(pairs_module, "_BUCKET_BYTES", 3000)
    found, summary = take(source, tmp_path / "out", shard_size=64)
    sizes = [pq.read_metadata(tmp_path / "out" / f"{name}.parquet").num_rows for name in shard_names(tmp_path / "out")]
    assert set(sizes[:-1]) == {64} and 0 < sizes[-1] <= 64 and summary.counts["pairs/shards"] == len(sizes)
    assert found.select(["uid", "url", "captions"]).to_pylist() == expected(rows)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(("_", "."))]


def test_equal_lists_give_equal_bytes_and_another_seed_another_order(tmp_path: Path) -> None:
    source = write(tmp_path / "list.csv", ROWS)
    found, _ = take(source, tmp_path / "one")
    take(source, tmp_path / "two")
    assert (tmp_path / "one" / "00000.parquet").read_bytes() == (tmp_path / "two" / "00000.parquet").read_bytes()
    other, _ = take(source, tmp_path / "three", seed=1)
    assert other["url"].to_pylist() != found["url"].to_pylist()
    assert other.sort_by("uid").equals(found.sort_by("uid"))


def test_a_folder_is_its_lists_by_name_and_the_first_source_counts(tmp_path: Path) -> None:
    write(tmp_path / "lists" / "b.csv", [("http://h.test/1", "from b")])
    write(tmp_path / "lists" / "a.jsonl", [("http://h.test/1", "from a"), ("http://h.test/2", "x")])
    (tmp_path / "lists" / "notes.md").write_text("not a list")
    found, _ = take(tmp_path / "lists", tmp_path / "out")
    by_url = {row["url"]: row for row in found.to_pylist()}
    assert by_url["http://h.test/1"]["captions"] == ["from a", "from b"]
    assert {row["source"] for row in by_url.values()} == {"a"}


@pytest.mark.parametrize(
    ("url", "caption"), [("URL", "TEXT"), ("image_url", "alt"), ("Url", "Caption"), ("url", "alt_text")]
)
def test_columns_are_recognised_by_usual_names(tmp_path: Path, url: str, caption: str) -> None:
    source = write(tmp_path / "list.csv", [(1, "http://h.test/1", "a dog")], ("id", url, caption))
    row = take(source, tmp_path / "out")[0].to_pylist()[0]
    assert (row["url"], row["captions"], row["id"]) == ("http://h.test/1", ["a dog"], "1")


def test_columns_can_be_named(tmp_path: Path) -> None:
    source = write(
        tmp_path / "list.csv", [("http://h.test/1", "bild", "ein Hund", "a dog")], ("wo", "url", "de", "text")
    )
    row = take(source, tmp_path / "out", url_column="wo", caption_column="de")[0].to_pylist()[0]
    assert (row["url"], row["captions"], row["text"], row["list_url"]) == (
        "http://h.test/1",
        ["ein Hund"],
        "a dog",
        "bild",
    )


def test_further_columns_come_along_with_their_first_value(tmp_path: Path) -> None:
    one = write(
        tmp_path / "one.parquet",
        [("http://h.test/1", "a", None, 300), ("http://h.test/1", "b", "cc-by", 400)],
        ("url", "text", "licence", "width"),
    )
    two = write(
        tmp_path / "two.parquet",
        [("http://h.test/1", "c", "mit", 0.5), ("http://h.test/2", "d", "mit", 0.7)],
        ("url", "text", "licence", "score"),
    )
    found = {row["url"]: row for row in take((one, two), tmp_path / "out")[0].to_pylist()}
    first, second = found["http://h.test/1"], found["http://h.test/2"]
    assert (first["licence"], first["list_width"], first["score"]) == ("cc-by", 300, 0.5)
    assert (second["licence"], second["list_width"], second["score"]) == ("mit", None, 0.7)


def test_lists_of_captions_and_our_own_pairs_can_be_read_again(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {"url": ["http://h.test/1", "http://h.test/2", "http://h.test/3"], "captions": [["a", "b", "a"], [], None]}
        ),
        tmp_path / "list.parquet",
    )
    found, summary = take(tmp_path / "list.parquet", tmp_path / "out")
    assert found["captions"].to_pylist() == [["a", "b"]] and summary.counts["rows/no_caption"] == 2
    again, _ = take(tmp_path / "out", tmp_path / "again")
    assert again.select(["uid", "url", "captions"]).equals(found.select(["uid", "url", "captions"]))
    third, _ = take((tmp_path / "again", tmp_path / "out"), tmp_path / "third")
    assert third.column_names == [*PAIRS.names, "list_list_uid", "list_list_source", "list_uid", "list_source"]
    assert third["list_list_source"].to_pylist() == ["00000"] and third["list_source"].to_pylist() == ["list"]


@pytest.mark.parametrize("caption", ['a 12" record', '"Untitled', 'the "best" one', '""'])
def test_in_a_tsv_a_quotation_mark_is_a_character(tmp_path: Path, caption: str) -> None:
    found, _ = take(write(tmp_path / "list.tsv", [("http://h.test/1", caption), *ROWS]), tmp_path / "out")
    assert next(row["captions"] for row in found.to_pylist() if row["url"] == "http://h.test/1") == [caption]
    assert len(found) == 8


@pytest.mark.parametrize("block", [1, 2**20], ids=["a block a row", "one block"])
def test_a_json_column_of_several_kinds_becomes_text_and_dates_stay_as_written(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the kinds meet in one block of the file or in several."""
    monkeypatch.setattr(formats_module, "_BLOCK_BYTES", block)
    rows = [
        {"url": "http://h.test/1", "caption": "one", "size": 3, "taken": "2020-01-02", "score": 1},
        {"url": "http://h.test/2", "caption": 2, "size": "large", "taken": "2020-01-03", "score": 0.5},
        {"url": "http://h.test/3", "caption": "2020-01-04", "size": None, "taken": None, "safe": True},
    ]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = take(tmp_path / "list.jsonl", tmp_path / "out")[0].sort_by("url").drop_columns(["uid", "source"])
    assert found.to_pydict() == {
        "url": ["http://h.test/1", "http://h.test/2", "http://h.test/3"],
        "captions": [["one"], ["2"], ["2020-01-04"]],
        "size": ["3", "large", None],
        "taken": ["2020-01-02", "2020-01-03", None],
        "score": [1.0, 0.5, None],
        "safe": [None, None, True],
    }


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int8(), pa.string()), pa.string_view(), pa.large_string()])
def test_text_of_every_kind_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    columns = [pa.array(column).cast(kind) for column in (["http://h.test/1"], ["a dog"], ["cc-by"])]
    pq.write_table(pa.table(columns, names=["url", "caption", "licence"]), tmp_path / "list.parquet")
    row = take(tmp_path / "list.parquet", tmp_path / "out")[0].to_pylist()[0]
    assert (row["url"], row["captions"], row["licence"]) == ("http://h.test/1", ["a dog"], "cc-by")


def test_labelled_lists_need_no_captions(tmp_path: Path) -> None:
    source = write(
        tmp_path / "list.parquet", [("http://h.test/1", "dog"), ("http://h.test/2", "cat")], ("url", "label")
    )
    found, summary = take(source, tmp_path / "out", needs_caption=False)
    assert found.schema.field("captions").type == PAIRS.field("captions").type
    assert found["captions"].to_pylist() == [[], []] and sorted(found["label"].to_pylist()) == ["cat", "dog"]
    assert summary.counts["pairs/urls"] == 2
    with pytest.raises(UserError, match=r"no caption column; its columns are url, label"):
        take(source, tmp_path / "refused")


def test_rows_without_url_or_caption_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        (None, "a"),
        ("", "b"),
        ("not a url", "c"),
        ("http://h.test/1", None),
        (" http://h.test/2 ", " d "),
        ("ftp://h.test/3", "e"),
    ]
    found, summary = take(write(tmp_path / "list.parquet", rows), tmp_path / "out")
    assert {row["url"]: row["captions"] for row in found.to_pylist()} == {
        "http://h.test/2": ["d"],
        "ftp://h.test/3": ["e"],
    }
    counts = summary.counts
    assert (counts["rows/read"], counts["rows/no_url"], counts["rows/no_caption"]) == (6, 3, 1)
    assert (counts["pairs/urls"], counts["pairs/captions"]) == (2, 2)


def _latin(path: Path) -> None:
    path.write_bytes("url,caption,title\nhttp://h.test/1,a,b\nhttp://h.test/2,Größe,b\n".encode("latin-1"))


def _latin_json(path: Path) -> None:
    path.write_bytes('{"url": "http://h.test/1", "caption": "a", "title": "Größe"}\n'.encode("latin-1"))


def _parquet_with(name: str, column: pa.Array):
    columns = {"url": pa.array(["http://h.test/1"]), "caption": pa.array(["a"]), name: column}
    return lambda path: pq.write_table(pa.table(columns), path)


NOT_UTF8 = pa.array([b"Gr\xf6\xdfe"])


def _torn(path: Path) -> None:
    write(path, ROWS)
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("gone.csv", lambda _: None, "no such file"),
        ("list.xlsx", lambda path: path.write_bytes(b"x"), "unknown format '.xlsx'"),
        ("list", lambda path: path.write_bytes(b"x"), "unknown format"),
        (
            "list.csv",
            lambda path: write(path, [("http://h.test/1", "a")], ("adress", "text")),
            "no url column; its columns are adress, text",
        ),
        ("list.csv", lambda path: write(path, [("http://h.test/1", "a")], ("urls", "text")), "did you mean 'urls'"),
        ("list.parquet", lambda path: write(path, [("http://h.test/1", "a")], ("url", "words")), "no caption column"),
        ("list.csv", lambda path: path.write_bytes(b""), "empty list"),
        ("list.csv", lambda path: write(path, []), "empty list"),
        ("list.jsonl", lambda path: path.write_bytes(b"\n\n"), "empty list"),
        (
            "list.parquet",
            lambda path: pq.write_table(
                pa.table({"url": pa.array([], pa.string()), "caption": pa.array([], pa.string())}), path
            ),
            "empty list",
        ),
        ("list.csv", lambda path: write(path, [("nowhere", "a"), ("", "b")]), "2 have no valid url"),
        ("list.parquet", _torn, "not a readable parquet file"),
        ("list.parquet", lambda path: path.write_text("url,caption"), "not a readable parquet file"),
        ("list.csv.gz", lambda path: path.write_bytes(b"not gzip"), "not a readable csv file"),
        (
            "list.jsonl",
            lambda path: path.write_text('{"url": "http://h.test/1", "caption": "a"}\n{"url": 5'),
            "not a readable jsonl file",
        ),
        ("list.csv", lambda path: path.write_text("url,caption\nhttp://h.test/1,a,b,c\n"), "not a readable csv file"),
        (
            "list.csv",
            lambda path: path.write_text("url,url,caption\nhttp://h.test/1,x,a\n"),
            "more than one column is named 'url'",
        ),
        ("empty_folder", lambda path: path.mkdir(), "no lists in this folder"),
        ("list.csv", _latin, "column 'caption' is no text in UTF-8"),
        (
            "list.tsv",
            lambda path: path.write_bytes(b"url\tcaption\nhttp://h.test/1\t\xff\n"),
            "column 'caption' is no text",
        ),
        ("list.jsonl", _latin_json, "column 'title' is no text in UTF-8"),
        ("list.parquet", _parquet_with("caption", NOT_UTF8.view(pa.string())), "column 'caption' is no text in UTF-8"),
        ("list.parquet", _parquet_with("title", NOT_UTF8.view(pa.string())), "column 'title' is no text in UTF-8"),
        ("list.parquet", _parquet_with("caption", NOT_UTF8), "column 'caption' is no text in UTF-8"),
        ("list.parquet", _parquet_with("caption", pa.array([{"en": "a"}])), "column 'caption' is no text"),
        ("list.parquet", _parquet_with("caption", pa.array([[["a"]]])), "column 'caption' is no text"),
        ("list.parquet", _parquet_with("url", pa.array([["http://h.test/1"]])), "column 'url' is no text"),
        (
            "list.jsonl",
            lambda path: path.write_text('{"url": "http://h.test/1", "caption": "a", "more": {}}'),
            "column 'more' cannot be kept",
        ),
        (
            "list.jsonl",
            lambda path: path.write_text(
                '{"url": "http://h.test/1", "caption": "a"}\n{"url": "http://h.test/2", "caption": ["a"]}'
            ),
            "column 'caption' has lists or objects in some rows only",
        ),
        ("list.jsonl", lambda path: path.write_text("[1]\n"), "not a readable jsonl file"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, make, said: str
) -> None:
    make(tmp_path / name)
    out = tmp_path / "out"
    with pytest.raises(UserError) as refused:
        take(tmp_path / name, out)
    assert said in str(refused.value) and name in str(refused.value) and "\n" not in str(refused.value)
    assert not list(out.iterdir())


def _breaks_half_way(path: Path) -> None:
    """Its end, which says what is in it, is whole."""
    rows = pa.table({"url": [f"http://h.test/{n}" for n in range(9)], "caption": ["a"] * 9})
    pq.write_table(rows, path, row_group_size=3, use_dictionary=False)
    body = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    body[start : start + 40] = b"\xff" * 40
    path.write_bytes(body)


@pytest.mark.parametrize("broken", [_torn, _breaks_half_way])
def test_a_broken_list_in_the_middle_of_others_is_the_one_that_is_named(tmp_path: Path, broken) -> None:
    lists = [write(tmp_path / "lists" / f"{number}.parquet", ROWS) for number in range(3)]
    broken(lists[1])
    for sources in (tuple(lists), tmp_path / "lists"):
        with pytest.raises(UserError, match=r"lists/1\.parquet: not a readable parquet file .*; check it") as refused:
            take(sources, tmp_path / "out")
        assert "\n" not in str(refused.value) and not list((tmp_path / "out").iterdir())


def test_a_column_that_was_named_but_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    source = write(tmp_path / "list.csv", ROWS, ("picture_url", "text"))
    with pytest.raises(UserError, match=r"no column 'picture_ulr' for the url; did you mean 'picture_url'\?"):
        take(source, tmp_path / "out", url_column="picture_ulr")


def test_columns_named_for_another_list_are_recognised_where_a_list_lacks_them(tmp_path: Path) -> None:
    """So an evaluation list is read though the columns were named for another; as named where it has them."""
    named = Ingest(url_column="wo", caption_column="de")
    theirs = write(tmp_path / "theirs.csv", [("http://h.test/1", "a dog", "x")], ("URL", "TEXT", "more"))
    both = write(tmp_path / "both.csv", [("http://h.test/1", "a dog", "ein Hund")], ("url", "text", "de"))
    for source, captions in ((theirs, ["a dog"]), (both, ["ein Hund"])):
        out = tmp_path / source.stem
        out.mkdir()
        ingest.run(sources=source, ingest=named, out=out, tracker=Silent(), recognise=True)
        assert read_shards(out)["captions"].to_pylist() == [captions]
    with pytest.raises(UserError, match=r"theirs\.csv: no column 'wo' for the url"):
        ingest.run(sources=theirs, ingest=named, out=tmp_path, tracker=Silent())


@pytest.mark.parametrize("size", [0, 10_001])
def test_a_shard_size_that_keys_cannot_count_is_refused(size: int) -> None:
    with pytest.raises(UserError, match="shard size"):
        Ingest(shard_size=size)
