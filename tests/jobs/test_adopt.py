"""Data that is there: every picture is read where it lies, known by what it was known by, and damage is named."""

import json
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from jobs import adopt
from jobs import hash as hash_stage
from jobs.adopted_picture import REFUSED
from tests.jobs import foreign
from tests.jobs.listening import Listening
from tests.vlp_core.data.folders import broken, jpeg, write_tar
from tests.vlp_core.web.site import Site
from vlp_core.curation.lists import CAPTION_NAMES
from vlp_core.data.layout import read_shards
from vlp_core.data.parts import digest, parts_of
from vlp_core.data.samples import Samples
from vlp_core.data.settings import Adopt
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of, uid_of
from vlp_core.tracker import Silent, Summary

pytestmark = pytest.mark.usefixtures("cluster")


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
    stored = [(len(body), "jpeg") for body in bodies.values()]  # which rules ask, and img2dataset writes of none
    assert [(row["bytes"], row["format"]) for row in rows if row["sha256"]] == stored
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
        *((f"train/{name}.{extension}", body) for name, body in HOSTILE.items() for extension, body in _said_by(body)),
    ]


HOSTILE = {
    "half": b'{"text": "a dog \\ud83d", "url": "http://pictures.test/half"}',
    "caf\udce9": b"{}",
    "deep": b"[" * 200_000,
    "wide": json.dumps({**foreign.row(6, "wide", True), "width": 10**30}).encode(),
}
"""JSON beside pictures: half a character, a name that is no UTF-8, nesting without an end, a width beyond numbers."""


def _said_by(text: bytes) -> list[tuple[str, bytes]]:
    return [("jpg", jpeg(6)), ("json", text)]


def _said(number: int) -> list[tuple[str, bytes]]:
    return [("jpg", jpeg(number)), ("txt", f"picture {number}".encode()), ("cls", f"{number}".encode())]


def test_any_tar_is_taken_with_what_its_members_say_and_its_pictures_are(tmp_path: Path) -> None:
    write_tar(tmp_path / "set-000.tar", members())
    write_tar(tmp_path / "set-001.tar", members()[:3])
    summary = run(tmp_path / "images", f"{tmp_path}/set-{{000..001}}.tar")
    assert summary.counts["rows"] == 11 and summary.counts["pictures/adopted"] == 9
    rows = {row["uid"]: row for row in read_shards(tmp_path / "images").to_pylist()}
    name = tmp_path.name
    expected = {uid_of(f"{name}/set-000#train/{number}"): jpeg(number) for number in range(3)}
    expected |= {uid_of("http://pictures.test/5"): jpeg(5), uid_of(f"{name}/set-001#train/0"): jpeg(0)}
    odd = [f"{name}/set-000#train/caf\\xe9", f"{name}/set-000#train/deep", "http://pictures.test/half"]
    expected |= {uid_of(url): jpeg(6) for url in (*odd, "http://pictures.test/6.jpg")}
    assert pictures_of(tmp_path / "images") == expected
    assert rows[uid_of(odd[2])]["captions"] == ["a dog ?"]
    assert rows[uid_of("http://pictures.test/6.jpg")]["width"] == 40
    first, fifth = (rows[uid] for uid in list(expected)[:4:3])
    assert (first["captions"], first["label"], first["format"]) == (["picture 0"], "0", "jpeg")
    assert (first["original_width"], first["original_height"], first["bytes"]) == (40, 30, len(jpeg(0)))
    assert first["sha256"] == sha256_of(jpeg(0)) and fifth["captions"] == ["of json"]
    reasons = [row["error_message"] for row in rows.values() if row["status"] != "success"]
    assert reasons == ["broken header: png", "no picture in the tar"]


@pytest.mark.parametrize(("format", "kind"), zip(foreign.FORMATS, ["cut", "chunk", "large"], strict=True))
def test_pictures_that_cannot_be_decoded_are_named_or_left_out(tmp_path: Path, format: str, kind: str) -> None:
    """img2dataset stores some where it encodes nothing anew."""
    bodies = foreign.write(tmp_path / "set", [3, 2], format=format, stored={4: broken(kind)})
    run(tmp_path / "images", tmp_path / "set")
    (tmp_path / "hashes").mkdir()
    with pytest.raises(
        UserError, match=r"set/00001\S*: the picture of \w{32} cannot be decoded .*; --adopt\.decode leaves"
    ):
        hash_stage.run(images=tmp_path / "images", out=tmp_path / "hashes", tracker=Silent())
    summary = run(tmp_path / "good", tmp_path / "set", adopt=Adopt(decode=True))
    assert (summary.counts["pictures/adopted"], summary.counts["failed"]) == (4, 1)
    assert pictures_of(tmp_path / "good") == {uid_of(url): body for url, body in list(bodies.items())[:4]}
    rows = read_shards(tmp_path / "good").to_pylist()
    assert [(row["status"], row["sha256"], row["width"], row["bytes"]) for row in rows[4:]] == [
        (REFUSED, None) + (None,) * 2
    ]
    assert rows[4]["error_message"] == {"large": "too many pixels", "cut": "undecodable: jpeg"}.get(
        kind, "undecodable: png"
    )
    assert [row["sha256"] for row in rows[:4]] == [foreign.came(number) for number in range(4)]


@pytest.mark.parametrize(("column", "captions"), [("txt", "picture 0"), ("alt", "of alt"), ("text", "of json")])
def test_captions_come_from_the_column_that_is_named(tmp_path: Path, column: str, captions: str) -> None:
    said = b'{"alt": "of alt", "text": "of json", "caption": "another"}'
    write_tar(tmp_path / "set.tar", [("0.jpg", jpeg(0)), ("0.txt", b"picture 0"), ("0.json", said)])
    run(tmp_path / "images", tmp_path / "set.tar", caption_column=column)
    assert read_shards(tmp_path / "images")["captions"].to_pylist() == [[captions]]


@pytest.mark.parametrize("format", ["webdataset", "tars alone"])
def test_a_column_of_captions_that_no_shard_has_is_told(tmp_path: Path, format: str) -> None:
    foreign.write(tmp_path / "set", [2, 2])
    for shard in tmp_path.glob("set/*.parquet") if format == "tars alone" else ():
        shard.unlink()
    with pytest.raises(UserError, match=r"set: no column 'capton' for the caption; did you mean 'caption'\?"):
        run(tmp_path / "images", tmp_path / "set", caption_column="capton")
    run(tmp_path / "some", tmp_path / "set", caption_column="capton", recognise=True)
    assert read_shards(tmp_path / "some")["captions"].to_pylist()[0] == ["picture 0"]


def test_what_says_that_its_pictures_lie_elsewhere_is_followed_in_the_root_alone(tmp_path: Path) -> None:
    """Whoever wrote such a folder names any file of this machine, or any address."""
    bodies = foreign.write(tmp_path / "set", [3])
    for root in ("this", "another"):
        (tmp_path / root / "adopt").mkdir(parents=True)
        run(tmp_path / root / "adopt" / "one", tmp_path / "set")
    theirs, out = tmp_path / "another" / "adopt" / "one", tmp_path / "this" / "adopt" / "two"
    with pytest.raises(
        UserError, match=r"adopt/one: says that its pictures lie elsewhere; .*--adopt\.follow if you trust"
    ):
        run(out, theirs)
    run(out, tmp_path / "this" / "adopt" / "one")
    run(out.with_name("three"), theirs, adopt=Adopt(follow=True))
    for folder in (out, out.with_name("three")):
        assert pictures_of(folder) == {uid_of(url): body for url, body in bodies.items()}


def test_places_on_a_store_are_not_followed(tmp_path: Path) -> None:
    """They would be of the machine that wrote them."""
    foreign.write(tmp_path / "set", [1])
    run(tmp_path / "one", tmp_path / "set")
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "one"), "/adopted", recursive=True)
    with pytest.raises(UserError, match=r"memory://adopted: says .*, which is followed from local folders alone"):
        run(tmp_path / "two", "memory://adopted", adopt=Adopt(follow=True))


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
    summary = run(tmp_path / "others", tmp_path / "set", tracker=heard, adopt=Adopt(skip_damaged=True))
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
