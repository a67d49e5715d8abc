import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vlp_core.data.folders import write_tar
from vlp_core.data.index import Reader, index_tar
from vlp_core.errors import UserError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "a_folder_with_a_long_name/" * 5  # more than the hundred bytes of a header
MEMBERS = [
    ("000000000.jpg", b"first" * 300),
    ("000000000.txt", b"a caption"),
    ("000000001.JPEG", b""),
    ("./000000002.png", b"x" * 512),
    (f"{LONG}000000003.webp", b"y" * 513),
    ("000000004.seg.png", b"a mask: not the picture of 000000004"),
]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS.keys())
def test_bytes_at_the_indexed_places_are_the_pictures(tmp_path: Path, format: int) -> None:
    write_tar(tmp_path / "a.tar", MEMBERS, format)
    rows = index_tar(tmp_path / "a.tar").to_pylist()
    reader = Reader()
    found = {row["key"]: reader.read(tmp_path / "a.tar", row["offset"], row["length"]) for row in rows}
    expected = [MEMBERS[0], MEMBERS[2], MEMBERS[3], MEMBERS[4]]
    assert found == {name.rsplit(".", 1)[0].removeprefix("./"): body for name, body in expected}
    assert [row["format"] for row in rows] == ["jpeg", "jpeg", "png", "webp"]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS.keys())
def test_names_that_are_no_text_are_told_apart(tmp_path: Path, format: int) -> None:
    """They are bytes, in whatever encoding."""
    write_tar(tmp_path / "a.tar", [("caf\udce9.jpg", b"1"), ("caf\udce8.jpg", b"2"), ("a.jpg", b"3")], format)
    assert index_tar(tmp_path / "a.tar")["key"].to_pylist() == ["caf\\xe9", "caf\\xe8", "a"]


@given(st.lists(st.tuples(st.text("ab/é", min_size=1, max_size=150), st.binary(max_size=1200)), max_size=6), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_agrees_with_the_standard_library(
    tmp_path: Path, members: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    format = data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    path = tmp_path / "a.tar"
    write_tar(path, [(f"{number}{name}x.jpg", body) for number, (name, body) in enumerate(members)], format)
    with tarfile.open(path) as tar:
        expected = [(m.name.removesuffix(".jpg"), m.offset_data, m.size) for m in tar]
    assert [tuple(row.values())[:3] for row in index_tar(path).to_pylist()] == expected


def test_headers_without_data_are_passed_over(tmp_path: Path) -> None:
    """Folders, links and global pax headers hold no picture and do not shift those that follow."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "global"}) as tar:
        for kind, name in ((tarfile.DIRTYPE, "folder.jpg"), (tarfile.SYMTYPE, "link.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "elsewhere"
            tar.addfile(member)
        member = tarfile.TarInfo("picture.jpg")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"body"))
    (row,) = index_tar(path).to_pylist()
    assert row["key"] == "picture" and Reader().read(path, row["offset"], row["length"]) == b"body"


def test_an_empty_tar_has_an_empty_index(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [])
    assert index_tar(tmp_path / "a.tar").num_rows == 0


@given(cut=st.integers(0, 3 * 2048 - 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tar_cut_anywhere_before_its_end_mark_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "half.tar"
    write_tar(path, [(f"{number}.jpg", b"z" * 1500) for number in range(3)])  # 2048 bytes each
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"half\.tar: truncated"):
        index_tar(path)


def test_what_is_no_tar_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "page.tar").write_bytes(b"<html>" * 500)
    with pytest.raises(UserError, match=r"page\.tar: truncated or not a tar"):
        index_tar(tmp_path / "page.tar")
    with pytest.raises(UserError, match=r"none\.tar: no such tar"):
        index_tar(tmp_path / "none.tar")


@pytest.mark.parametrize("at", [0, 2, 100, 300, 511])
def test_a_header_with_a_wrong_byte_is_refused(tmp_path: Path, at: int) -> None:
    """By its checksum: most of what a header says would be taken as it stands."""
    path = tmp_path / "a.tar"
    write_tar(path, [("0.jpg", b"z" * 600), ("1.jpg", b"z")])
    body = bytearray(path.read_bytes())
    body[1536 + at] ^= 1
    path.write_bytes(body)
    with pytest.raises(UserError, match=r"a\.tar: truncated or not a tar \(no tar header at byte 1536\)"):
        index_tar(path)


@pytest.mark.parametrize(("key", "value"), [("size", "-512"), ("size", "many")])
def test_damaged_pax_records_are_refused(tmp_path: Path, key: str, value: str) -> None:
    """A size that leads backwards would be read for ever."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.jpg")
        member.pax_headers = {key: value}
        tar.addfile(member)
    with pytest.raises(UserError, match=r"a\.tar: truncated or not a tar"):
        index_tar(path)


def test_threads_read_right_bytes_while_files_are_evicted(tmp_path: Path) -> None:
    """More files than may be open at once, read by many threads: no read meets a closed or reused descriptor."""
    for number in range(8):
        (tmp_path / f"{number}.tar").write_bytes(bytes([number]) * 1000)
    reader = Reader(open_files=2)

    def read(turn: int) -> bool:
        number = turn % 8
        return reader.read(tmp_path / f"{number}.tar", turn % 500, 100) == bytes([number]) * 100

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(4000)))


def test_rows_of_a_parquet_shard_are_read_by_number(tmp_path: Path) -> None:
    path = tmp_path / "00000.images.parquet"
    bodies = [bytes([number]) * (number + 1) for number in range(75)]
    pq.write_table(pa.table({"image": pa.array(bodies, pa.binary())}), path, row_group_size=32)
    reader = Reader(row_groups=1)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda row: reader.read(path, row, row + 1), [*range(75), *range(74, -1, -1)]))
    assert found == bodies + bodies[::-1]
    with pytest.raises(UserError, match="cannot read picture 75"):
        reader.read(path, 75, 1)


def test_a_shard_that_shrank_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"0123456789")
    with pytest.raises(UserError, match=r"a\.tar: 5 of 10 bytes"):
        Reader().read(tmp_path / "a.tar", 5, 10)
