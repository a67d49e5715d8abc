"""Data that is there: every picture is read where it lies, known by what it was known by, and damage is named."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from jobs import adopt
from tests.jobs import foreign
from tests.vlp_core.data.folders import jpeg, write_tar
from tests.vlp_core.web.site import Site
from vlp_core.curation.lists import CAPTION_NAMES
from vlp_core.data.layout import read_shards
from vlp_core.data.parts import digest, parts_of
from vlp_core.data.samples import Samples
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of, uid_of
from vlp_core.tracker import Silent, Summary

pytestmark = pytest.mark.usefixtures("cluster")


class Listening(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def run(out: Path, *sources: Path | str, tracker: Silent | None = None, **settings: object) -> Summary:
    given = tuple(map(str, sources))
    out.mkdir(exist_ok=True)
    listing = digest([part for source in given for part in parts_of(source)])
    return adopt.run(
        sources=given, listing=listing, caption_names=CAPTION_NAMES, out=out, tracker=tracker or Silent(), **settings
    )


def pictures_of(images: Path) -> dict[str, bytes]:
    samples = Samples.open(images)
    return {samples.uid(i): samples.image_bytes(i) for i in range(len(samples))}


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("format", foreign.FORMATS)
@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "not hashed"])
def test_a_folder_that_img2dataset_wrote_is_read_where_it_lies(tmp_path: Path, format: str, hashed: bool) -> None:
    """A picture is known by the sha256 of what came; where nobody wrote that down, by that of what is stored."""
    bodies = foreign.write(tmp_path / "set", [5, 4], format=format, failed=[2], hashed=hashed)
    before = contents(tmp_path / "set")
    summary = run(tmp_path / "images", tmp_path / "set")
    assert summary.counts == {"rows": 9, "pictures/adopted": 8, "failed": 1, "shards": 2, "shards/damaged": 0}
    assert pictures_of(tmp_path / "images") == {uid_of(url): body for url, body in bodies.items()}
    rows = read_shards(tmp_path / "images").to_pylist()
    assert [row["url"] for row in rows] == [f"http://pictures.test/{number}.jpg" for number in range(9)]
    assert rows[4]["captions"] == ["picture 4"] and rows[4]["original_width"] == 404 and rows[4]["source"] == "set"
    assert (rows[2]["status"], rows[2]["error_message"], rows[2]["sha256"]) == ("failed_to_download", "404", None)
    expected = [foreign.came(number) if hashed else sha256_of(jpeg(number)) for number in range(9) if number != 2]
    assert [row["sha256"] for row in rows if row["sha256"]] == expected
    assert contents(tmp_path / "set") == before
    written = contents(tmp_path / "images").values()
    assert not any(body in file for body in bodies.values() for file in written), "a picture was copied"


def members() -> list[tuple[str, bytes]]:
    """Samples of a tar that anybody may have written."""
    return [
        *((f"train/{number}.{extension}", body) for number in range(3) for extension, body in _said(number)),
        ("train/3.png", b"\x89PNG\r\n\x1a\n and no more"),
        ("train/4.txt", b"words alone"),
        ("readme.md", b"no sample"),
        ("train/5.jpg", jpeg(5)),
        ("train/5.json", b'{"url": "http://pictures.test/5", "text": "of json", "uid": 5}'),
    ]


def _said(number: int) -> list[tuple[str, bytes]]:
    return [("jpg", jpeg(number)), ("txt", f"picture {number}".encode()), ("cls", f"{number}".encode())]


def test_any_tar_is_taken_with_what_its_members_say_and_its_pictures_are(tmp_path: Path) -> None:
    write_tar(tmp_path / "set-000.tar", members())
    write_tar(tmp_path / "set-001.tar", members()[:3])
    summary = run(tmp_path / "images", f"{tmp_path}/set-{{000..001}}.tar")
    assert summary.counts["rows"] == 7 and summary.counts["pictures/adopted"] == 5
    rows = {row["uid"]: row for row in read_shards(tmp_path / "images").to_pylist()}
    name = tmp_path.name
    expected = {uid_of(f"{name}/set-000#train/{number}"): jpeg(number) for number in range(3)}
    expected |= {uid_of("http://pictures.test/5"): jpeg(5), uid_of(f"{name}/set-001#train/0"): jpeg(0)}
    assert pictures_of(tmp_path / "images") == expected
    first, fifth = (rows[uid] for uid in list(expected)[:4:3])
    assert (first["captions"], first["label"], first["format"]) == (["picture 0"], "0", "jpeg")
    assert (first["original_width"], first["original_height"], first["bytes"]) == (40, 30, len(jpeg(0)))
    assert first["sha256"] == sha256_of(jpeg(0)) and fifth["captions"] == ["of json"]
    reasons = [row["error_message"] for row in rows.values() if row["status"] != "success"]
    assert reasons == ["broken header: png", "no picture in the tar"]


def test_tars_on_a_server_are_read_by_ranges(tmp_path: Path) -> None:
    """From their headers to the pictures; the server lists no folders, so a pattern names them.

    Beside one lie its rows; of the other img2dataset's JSON members say what they would."""
    bodies = foreign.write(tmp_path / "set", [4, 3])
    (tmp_path / "set" / "00001.parquet").unlink()
    asked: list[str | None] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Range"))
        file = tmp_path / request.path.lstrip("/")
        return web.FileResponse(file) if file.exists() else web.Response(status=404)

    with Site(serve) as site:
        run(tmp_path / "images", site.url("set/{00000..00001}.tar"))
        assert pictures_of(tmp_path / "images") == {uid_of(url): body for url, body in bodies.items()}
        assert any(asked)
        known = read_shards(tmp_path / "images")["sha256"].to_pylist()
        assert known == [foreign.came(number) for number in range(7)]
        with pytest.raises(UserError, match=r"00002\.tar: no such tar; 1 of 3 that .* names are missing"):
            parts_of(site.url("set/{00000..00002}.tar"))


def test_a_run_that_was_killed_goes_on_to_the_same_files(tmp_path: Path) -> None:
    foreign.write(tmp_path / "set", [3, 3, 3], hashed=False)
    run(tmp_path / "whole", tmp_path / "set")
    run(tmp_path / "out", tmp_path / "set")
    out = tmp_path / "out"
    kept = (out / "00000.parquet").stat().st_ino
    (out / "00001.parquet").unlink()  # killed before its rows, which come last
    (out / "00002_index.parquet").unlink()  # found damaged, and taken back
    (out / "_places" / ".00001.json.0a.tmp").write_bytes(b"half")
    run(out, tmp_path / "set")
    assert contents(out) == contents(tmp_path / "whole")
    assert (out / "00000.parquet").stat().st_ino == kept


def test_damage_is_named_or_left_out(tmp_path: Path) -> None:
    bodies = foreign.write(tmp_path / "set", [3, 3, 3, 3])
    tar = tmp_path / "set" / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"00001\.tar: truncated or not a tar .*; give a whole copy, or leave it out"):
        run(tmp_path / "out", tmp_path / "set")
    (tmp_path / "set" / "00002.parquet").write_bytes(b"PAR1 and no more")
    write_tar(tmp_path / "set" / "00003.tar", [])
    heard = Listening()
    summary = run(tmp_path / "others", tmp_path / "set", tracker=heard, skip_damaged=True)
    assert summary.counts["shards/damaged"] == 3 and len(pictures_of(tmp_path / "others")) == 3
    named = sorted(warning.partition(": ")[2].partition(":")[0].rpartition("/")[2] for warning in heard.warnings)
    assert named == ["00001.tar", "00002.tar", "00003.tar"]
    assert pictures_of(tmp_path / "others") == {uid_of(url): bodies[url] for url in list(bodies)[:3]}


def test_what_was_adopted_is_adopted_again_and_joined_with_what_was_fetched(tmp_path: Path) -> None:
    bodies = foreign.write(tmp_path / "set", [3])
    (tmp_path / "more").mkdir()
    write_tar(tmp_path / "more" / "0.tar", members())
    run(tmp_path / "one", tmp_path / "set", tmp_path / "more")
    run(tmp_path / "two", made=(tmp_path / "one",))
    assert pictures_of(tmp_path / "two") == pictures_of(tmp_path / "one")
    assert pictures_of(tmp_path / "two").items() >= {uid_of(url): body for url, body in bodies.items()}.items()
    assert pq.read_table(tmp_path / "one/00000.parquet").equals(pq.read_table(tmp_path / "two/00000.parquet"))


def test_a_source_that_changed_since_it_was_listed_is_told(tmp_path: Path) -> None:
    foreign.write(tmp_path / "set", [2])
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="changed while this was being planned"):
        adopt.run(
            sources=(str(tmp_path / "set"),),
            listing="of another day",
            caption_names=(),
            out=tmp_path / "out",
            tracker=Silent(),
        )
