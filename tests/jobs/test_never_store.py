"""Pictures that must never be stored are not, wherever they come from."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from jobs import download
from jobs.journal import Journal
from jobs.never_store import read_never_store
from pipelines.data import Curate, check_data
from pipelines.workflow.outside import Digests
from pipelines.workflow.step import identify, step
from tests.jobs.downloading import answer, body_of, fetched, names, settings, write_pairs
from tests.vlp_core.web.site import Site
from vlp_core.curation.hashes import phash, thumbnail
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.web.picture import make_store
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import sniff

SHA = sha256_of(b"x")


@pytest.fixture
def site() -> Iterator[Site]:
    async def tagged(request: web.Request) -> web.StreamResponse:
        reply = await answer(request)
        reply.headers["ETag"] = '"mine"'
        return reply

    with Site(tagged) as site:
        yield site


def _stored(body: bytes) -> bytes:
    """A picture as it is stored."""
    stored = make_store(Fetch())(body, sniff(body))
    assert not isinstance(stored, str)
    return stored.jpeg


def _looks(body: bytes) -> int:
    """The perceptual hash of a picture as it is stored."""
    return int(phash(thumbnail(_stored(body))))


def test_nothing_of_them_is_written_and_their_rows_say_no_more_than_that(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sha256 of what came, or by what it looks like, to so many bits."""
    monkeypatch.setattr(Journal, "remove", Journal.close)
    looks = [_looks(body_of(path)) for path in names([2, 3])]
    listed = tmp_path / "never.txt"
    listed.write_text(
        f"# ours\n\n {sha256_of(body_of('1.jpg')).upper()}\r\n"
        f"phash:{looks[0] ^ 0b110:016x} 2\nphash:{looks[1] ^ 0b110:016x} 1\n"
    )
    pairs = write_pairs(tmp_path / "pairs", names(range(5)))
    out = fetched(pairs, tmp_path / "out", settings(site, never_store=(listed,)))
    rows = pq.read_table(out / "00000.parquet").to_pylist()
    assert [row["error_message"] for row in rows] == [None, "refused picture", "refused picture", None, None]
    whole = pq.read_table(out / "_ledger" / "00000.parquet").to_pylist()
    for row, known in zip(rows, whole, strict=True):
        if row["error_message"]:
            assert {row[name] for name in ("sha256", "bytes", "format", "width", "original_width")} == {None}
            assert (known["outcome"], known["failure"], known["sha256"], known["etag"]) == (
                "final",
                "refused",
                None,
                None,
            )
    stored = sum(pq.read_table(out / "00000_index.parquet")["length"].to_pylist())
    assert (out / "_work" / "00000" / "spill").stat().st_size == stored, "nor was it in the spill"


def test_a_picture_is_known_as_it_is_stored_in_whatever_body_it_comes(site: Site, tmp_path: Path) -> None:
    listed = tmp_path / "never.txt"
    listed.write_text(sha256_of(_stored(body_of("1.jpg"))))
    pairs = write_pairs(tmp_path / "pairs", names(range(3)))
    out = fetched(pairs, tmp_path / "out", settings(site, never_store=(listed,)))
    reasons = pq.read_table(out / "00000.parquet")["error_message"].to_pylist()
    assert reasons == [None, "refused picture", None]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"abc\n", "line 1 is no hash ('abc')"),
        (f"{SHA}\n\n{SHA}0\n".encode(), "line 3 is no hash"),
        (b"# of pictures\nphash:0123456789abcdef 65", "line 2 is no hash ('phash:0123456789abcdef 65')"),
        (b"\xff\xfe\x00", "not a readable file of hashes"),
        (None, "not a readable file of hashes"),
    ],
)
def test_a_file_that_is_no_list_of_hashes_is_told_at_once(tmp_path: Path, body: bytes | None, says: str) -> None:
    path = tmp_path / "never.txt"
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(UserError) as told:
        check_data(Curate(source=("list.csv",), fetch=Fetch(never_store=(path,))))
    assert str(told.value).startswith(f"--fetch.never-store {path}: {says}") and "\n" not in str(told.value)


def test_several_files_are_one_list_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    digests = [sha256_of(str(number).encode()) for number in range(2000)]
    parts = [tmp_path / name for name in "abc"]
    for part, text in zip(parts, ("\n".join(digests[:999]), "", "\n".join(digests[999:])), strict=True):
        part.write_text(text)
    never = read_never_store(parts)
    assert all(never.has(digest) for digest in digests)
    assert not never.has(sha256_of(b"another")) and not never.by_looks
    assert not read_never_store([]).has(digests[0])
    # what ends in zero bytes, or begins as one that is listed does, is told apart
    (tmp_path / "zeros").write_text(f"{'ab' * 31}00\n{'0' * 64}\n")
    zeros = read_never_store([tmp_path / "zeros"])
    assert zeros.has("ab" * 31 + "00") and zeros.has("0" * 64) and not zeros.has("ab" * 30 + "0000")


def test_a_download_is_known_by_what_is_in_them_and_not_by_what_they_are_called(tmp_path: Path) -> None:
    def fingerprint(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        given = step("download", download.run, fetch=Fetch(never_store=(tmp_path / name,)))
        return identify(given, lambda _: {}, Digests(tmp_path / "digests.json").of).fingerprint

    assert fingerprint("one", SHA) == fingerprint("its copy", SHA) != fingerprint("other", sha256_of(b"y"))
