"""What --source takes: links are fetched, what is there is adopted, both become one folder, and what is neither is
told in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.sources import images_of, sort_out
from pipelines.workflow.step import Step, walk
from tests.vlp_core.data.folders import jpeg, write_images, write_tar
from vlp_core.curation.settings import Ingest
from vlp_core.data.settings import Adopt
from vlp_core.errors import UserError
from vlp_core.web.settings import Fetch


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with one of each."""
    write_images(tmp_path / "set", [2], foreign=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.csv").write_text("url,caption\nhttp://a.test/1,one\n")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "captions.tsv").write_text("image\ttext\n1.jpg\tone\n2.jpg\ttwo\n")
    (tmp_path / "photos" / "1.jpg").write_bytes(jpeg(1))
    (tmp_path / "parts" / "0").mkdir(parents=True)
    write_tar(tmp_path / "parts" / "0" / "x.tar", [("1.jpg", jpeg(1))])
    (tmp_path / "empty").mkdir()
    (tmp_path / "read.me").write_text("no list")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "0.tar.gz").write_bytes(b"")
    return tmp_path


def images(*sources: Path | str, adopt: Adopt | None = None) -> Step:
    return images_of(
        [str(source) for source in sources],
        ingest_settings=Ingest(),
        fetch=Fetch(),
        adopt_settings=adopt or Adopt(),
        serve=None,
    )


@pytest.mark.parametrize(
    ("sources", "steps"),
    [
        (["links"], ["ingest", "download"]),
        (["links/a.csv"], ["ingest", "download"]),
        (["set"], ["adopt"]),
        (["set/{00000..00000}.tar"], ["adopt"]),
        (["parts"], ["adopt"]),
        (["photos"], ["ingest-pictures", "adopt-pictures"]),
        (["photos/captions.tsv"], ["ingest-pictures", "adopt-pictures"]),
        (["links", "photos"], ["ingest", "download", "ingest-pictures", "adopt-pictures", "adopt"]),
        (["set", "links"], ["ingest", "download", "adopt"]),
    ],
)
def test_sources_become_steps_by_what_they_are(here: Path, sources: list[str], steps: list[str]) -> None:
    assert [step.name for step in walk([images(*(here / source for source in sources))])] == steps


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("empty", "empty: no data set in this folder; it needs tars, lists or a caption table"),
        ("read.me", r"read\.me: unknown format '\.me'; known: \.parquet, "),
        ("packed", r"0\.tar\.gz: compressed, so no picture is found by offset; unpack it"),
        ("set/{00000..00002}.tar", r"00001\.tar: no such tar; 2 of 3 that .* names are missing"),
        ("set/9.tar", r"9\.tar: no such tar$"),
        ("set/{0..4", r"write it as …/\{00000\.\.00012\}\.tar"),
        ("nosuch://set", "no such store can be opened here"),
        ("memory://nothing", "nothing is there, or it may not be listed"),
    ],
)
def test_what_is_no_data_set_is_told_in_one_line(here: Path, source: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        sort_out([source if "://" in source else str(here / source)], Adopt())
    assert "\n" not in str(error.value)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1300])


def _cut_to_blocks(path: Path) -> None:
    """Inside a picture's bytes, at a multiple of a block's."""
    path.write_bytes(path.read_bytes()[:1024])


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("links/b.parquet", lambda path: path.write_bytes(b"PAR1 and no more"), "not a readable parquet file"),
        ("links/b.csv.gz", lambda path: path.write_bytes(b"no gzip"), "not a readable csv file"),
        ("links/b.csv", lambda path: path.write_text("name,size\na,1\n"), "no url column"),
        ("links/b.jsonl", lambda path: path.write_text("[1]\n"), "not a readable jsonl file"),
        ("links/b.jsonl", lambda path: path.write_text('{"url": "a:b", "text": "c"}\n' * 9 + '{"ur'), "not a readable"),
        ("set/00000.tar", _cut, "truncated or not a tar"),
        ("set/00000.tar", _cut_to_blocks, "truncated or not a tar"),
        ("set/00000.tar", lambda path: path.write_text("<html>"), "truncated or not a tar"),
        ("set/00000.parquet", _cut, "truncated or not a Parquet file"),
    ],
)
def test_one_that_is_unreadable_among_others_is_told_in_one_line_before_any_work(
    here: Path, name: str, damage: Callable[[Path], object], told: str
) -> None:
    damage(here / name)
    with pytest.raises(UserError, match=told) as error:
        images(here / "photos", here / "set", here / "links", here / "parts")
    assert str(here / name) in str(error.value) and "\n" not in str(error.value)
    if name.startswith("set"):
        images(here / "set", adopt=Adopt(skip_damaged=True))


@pytest.mark.parametrize(
    ("name", "ending"),
    [("parts/0/x.tar", b"what follows the end"), ("parts/0/x.tar", bytes(511) + b"x"), ("links/b.jsonl", b"")],
)
def test_what_ends_as_few_do_and_can_be_read_is_taken(here: Path, name: str, ending: bytes) -> None:
    (here / "links" / "b.jsonl").write_text('{"url": "http://a.test/2",\n"caption": "two"\n}\n')
    with open(here / name, "ab") as file:
        file.write(ending)
    assert images(here / "links", here / "parts").name == "adopt"


def test_a_set_is_given_once(here: Path) -> None:
    """Pictures without urls are known by folder, tar and key."""
    with pytest.raises(UserError, match="give a source once"):
        sort_out([str(here / "set"), str(here / "set" / "00000.tar")], Adopt())


def test_a_column_of_files_is_named_where_a_table_has_urls_too(here: Path) -> None:
    table = here / "photos" / "both.csv"
    table.write_text("url,caption,local\nhttp://a.test/1,one,1.jpg\n")
    broken = here / "photos" / "broken.parquet"
    broken.write_bytes(b"PAR1")  # told when it is read, as any list
    assert sort_out([str(table), str(broken)], Adopt(file_column="local")).lists == (broken,)
    assert sort_out([str(table)], Adopt()).lists == (table,)
    assert sort_out([str(table)], Adopt(file_column="local")).tables == (table,)


@pytest.mark.parametrize(
    ("source", "changed"), [("set", "set/00000.tar"), ("photos", "photos/1.jpg"), ("photos", "photos/2.jpg")]
)
def test_a_set_that_changed_is_adopted_again(here: Path, source: str, changed: str) -> None:
    """Also where what is named is there only now."""
    before = images(here / source).inputs["listing"]
    (here / "photos" / "unnamed.jpg").write_bytes(b"")
    assert images(here / source).inputs["listing"] == before
    file = here / changed
    file.write_bytes((file.read_bytes() if file.exists() else b"") + b"\0" * 512)
    assert images(here / source).inputs["listing"] != before
