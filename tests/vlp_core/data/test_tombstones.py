"""Lists of what is to be taken down, in whatever file, become tombstones: whole or not at all, and each once."""

from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlp_core.data.takedowns import TAKEDOWNS
from vlp_core.data.tombstones import add_tombstones, read_named, read_tombstones
from vlp_core.errors import UserError

URL, HOST, SHA = "http://a.test/1.jpg", "b.test", "AB" * 32
NAMED = [("url", URL), ("host", HOST), ("sha256", SHA.lower())]


def rows(named: pa.Table) -> list[tuple[str, str]]:
    return list(zip(*named.select(["kind", "value"]).to_pydict().values(), strict=True))


@pytest.mark.parametrize(
    "kind",
    [
        "words",
        "text",
        "values.csv",
        "headed.csv",
        "values.tsv",
        "columns.csv",
        "columns.tsv",
        "kinds.parquet",
        "rows.parquet",
    ],
)
def test_a_list_may_be_words_text_csv_or_parquet(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    values = [URL, HOST, SHA]
    if kind == "text":
        path.write_text("# notices\n\n" + "".join(f"  {value} \n" for value in values))
    elif kind.startswith(("values", "headed")):
        path.write_text("\n".join([*(["image.url"] if kind == "headed.csv" else []), *values]))
    elif kind.startswith("columns"):
        between = "," if kind.endswith("csv") else "\t"
        path.write_text("\n".join(between.join(row) for row in (["URL", "host", "sha256", "note"], [*values, "x"])))
    elif kind == "kinds.parquet":
        pq.write_table(pa.table({"kind": ["url", "host", "sha256"], "value": values}), path)
    elif kind == "rows.parquet":  # of a list that is trained on, with columns that are no texts
        captions, body = pa.array([["a"]] * 3), pa.array([b"\xff"] * 3)
        given = {name: [value, None, None] for name, value in zip(("URL", "host", "sha256"), values, strict=True)}
        pq.write_table(pa.table({**given, "captions": captions, "body": body}), path)
    assert rows(read_named(values if kind == "words" else [str(path)])) == NAMED


def test_a_list_of_hosts_alone_needs_no_header_either(tmp_path: Path) -> None:
    path = tmp_path / "hosts.csv"
    path.write_text("a.test\nb.test\n")
    assert rows(read_named([str(path)])) == [("host", "a.test"), ("host", "b.test")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no-host-at-all", "list.txt, line 2: 'no-host-at-all' is neither a url, a host, a sha256 nor a file"),
        ("0" * 32, "is a uid; give the url that it stands for"),
        ("a." * 150 + "test", "is neither a url, a host"),
        ("b.test/path", "'b.test/path' is no url; give it with http:// or https://"),
    ],
)
def test_what_is_none_of_these_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "list.txt").write_text(f"{URL}\n{text}\n")
    with pytest.raises(UserError, match=told):
        read_named([str(tmp_path / "list.txt")])


@pytest.mark.parametrize("letters", [300, 5000])
def test_a_url_may_be_longer_than_a_files_name_and_what_is_none_is_told_in_short(letters: int) -> None:
    url = f"{URL}?{'x' * letters}"
    assert rows(read_named([url])) == [("url", url)]
    with pytest.raises(UserError, match=r"^'x{79}…' is neither a url"):
        read_named(["x" * letters])


def test_lists_of_other_columns_and_empty_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("link,why\nx,y\n")
    (tmp_path / "b.csv").write_text(f"host,why\n{URL},y\n")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    (tmp_path / "d.txt").write_text("# nothing\n")
    for name, told in (
        ("a.csv", "no column url, host, sha256; name the columns so"),
        ("b.csv", f"row 1: '{URL}' is no host"),
        ("c.parquet", "not a readable list"),
        ("d.txt", "names nothing"),
    ):
        with pytest.raises(UserError, match=told):
            read_named([str(tmp_path / name)])


def test_each_is_kept_once_however_it_is_written_and_two_at_once_lose_nothing(tmp_path: Path) -> None:
    assert add_tombstones(tmp_path, read_named([URL, HOST, SHA]), "mail", "me") == 3
    assert add_tombstones(tmp_path, read_named(["HTTP://A.test:80/1.jpg#x", "B.test.", SHA.lower()]), "", "") == 0
    assert add_tombstones(tmp_path, read_named([f"{URL}?x", f"{URL}?x"]), "", "") == 1
    (_, first, *_rest) = read_tombstones(tmp_path).to_pylist()[0].values()
    assert first == URL and read_tombstones(tmp_path).schema.names == TAKEDOWNS.names
    lists = [read_named([f"{number}-{turn}.test" for turn in range(5)]) for number in range(4)]
    threads = [Thread(target=add_tombstones, args=(tmp_path, named, "", "")) for named in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_tombstones(tmp_path)) == 24 and not list(tmp_path.glob("*.tmp"))
    (tmp_path / "takedowns.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"takedowns\.parquet: not readable as a file of takedowns"):
        add_tombstones(tmp_path, lists[0], "", "")
