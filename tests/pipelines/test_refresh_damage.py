"""Refreshes of what is damaged, by a wrong word or on the disk: told in one line, and nothing is made worse."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import refresh_data
from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.series import Series
from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.ending import USAGE_FAULT, USER_FAULT
from tests.pipelines.refreshing import Data
from vlp_core.data.adopted import read_place
from vlp_core.data.releases import read
from vlp_core.files import write_text


def damage_release(data: Data) -> None:
    (data.root / read(data.root, "photos", 1).folder / "00000.parquet").write_bytes(b"")


def remove_release(data: Data) -> None:
    (data.root / "release").rename(data.root / "elsewhere")


def cut_tar(data: Data) -> None:
    next(data.root.glob("download/*/00000.tar")).write_bytes(b"")


def move_root(data: Data) -> None:
    data.root = data.root.rename(data.folder / "moved")


@pytest.mark.usefixtures("cluster", "handlers")
def test_what_cannot_be_refreshed_is_told_in_one_line(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    data.pictures(0, 1)
    data.lists("0.jpg", "1.jpg")

    def told(*flags: str) -> str:
        assert data.main(*flags) in (USER_FAULT, USAGE_FAULT)
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    assert "--into: give the release's data set a name" in told("--into", "")
    assert "no name of a release" in told("--into", "a/b")
    assert "--into photos@2: the next is photos@1; leave the number out" in told("--into", "photos@2")
    assert "--recheck-days -1" in told("--recheck-days", "-1") and "--keep 0" in told("--keep", "0")
    assert data.main("--keep", "0") == USAGE_FAULT and data.main("--source", str(data.folder / "x.csv")) == USER_FAULT
    capsys.readouterr()
    assert "no such file" in told("--source", str(data.folder / "none.csv"))
    (data.folder / "else.csv").write_text("address,text\na,b\n")
    assert "else.csv: no url column; its columns are address, text" in told("--source", str(data.folder / "else.csv"))
    assert not (data.root / "ingest").exists(), "it is told before anything is begun"
    assert data.main() == 0
    capsys.readouterr()
    assert "--into photos@1: taken; the next is photos@2" in told("--into", "photos@1")
    with Series(data.root, "photos").alone():
        assert "--into photos: process" in told() and data.main("--explain") == 0
        capsys.readouterr()
    harms: list[tuple[Callable[[Data], None], str]] = [
        (cut_tar, "00000.tar, which holds pictures of it, is gone or damaged; put it back"),
        (damage_release, "is missing or not as it was recorded; put it back, or go on under another name"),
        (remove_release, "is gone; put it back"),
        (move_root, "photos@1: made in"),
    ]
    for harm, says in harms:
        harm(data)
        assert says in told()
        plan = data.root / ".purge" / "plan.json"  # a purge that is half done is no damage
        write_text(plan, "{}")
        assert "pictures are being purged, or were when that was killed" in told()
        plan.unlink()


def flip(tar: Path, *, touched: bool) -> None:
    """One byte of a picture, as a disk may lose it; the time stays unless it was touched."""
    body, times = bytearray(tar.read_bytes()), tar.stat()
    body[len(body) // 3] ^= 1
    tar.write_bytes(body)
    if not touched:
        os.utime(tar, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.usefixtures("cluster", "handlers")
def test_verify_reads_the_pictures_of_a_release_too(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    data.pictures(*range(3))
    data.lists("0.jpg", "1.jpg")
    assert data.main() == 0
    data.lists("0.jpg", "1.jpg", "2.jpg")
    assert data.main("--verify") == 0
    assert "verified: 1 releases of photos, and the tars of their pictures" in capsys.readouterr().out
    alone = ["--root", str(data.root), "--into", "photos", "--verify"]
    assert refresh_data.main(alone) == 0
    assert capsys.readouterr() == ("verified: 2 releases of photos, and the tars of their pictures\n", "")
    assert refresh_data.main([*alone[:3], "photo", "--verify"]) == 2
    assert "no such release" in capsys.readouterr().err and not (data.root / "releases" / "photo").exists()
    tar = next(data.root.glob("download/*/00000.tar"))
    whole = tar.read_bytes()
    named = ["--source", "releases:photos@1", "--root", str(data.root), "--until", "hash"]
    for touched in (False, True):
        flip(tar, touched=touched)
        assert data.main("--verify") == 2
        assert f"photos@1, photos@2: {tar}, which holds pictures of them, is gone or damaged" in capsys.readouterr().err
        words = named if touched else [*named, "--verify"]  # what was touched is read without being told
        assert run_pipeline("pretrain-clip", PretrainClip, build, arguments=words) == 2
        assert f"{tar}, which holds pictures of it" in capsys.readouterr().err
        tar.write_bytes(whole)
    assert data.main("--verify") == 0


@pytest.mark.usefixtures("cluster", "handlers")
@pytest.mark.parametrize("how", ["damaged", "forced"])
def test_a_download_whose_pictures_releases_hold_is_not_made_again(
    data: Data, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some of its links are dead by then, and another tar has its pictures elsewhere."""
    data.pictures(*range(4))
    data.lists("0.jpg", "1.jpg", "2.jpg")
    assert data.main() == 0
    first = data.list.read_bytes()
    data.lists("0.jpg", "1.jpg", "2.jpg", "3.jpg")
    assert data.main() == 0
    tar = read_place(next((read(data.root, "photos", 1).path / "_places").glob("*.json"))).file
    if how == "damaged":
        flip(Path(tar), touched=True)
    body, asked = Path(tar).read_bytes(), data.asked.copy()
    capsys.readouterr()
    data.list.write_bytes(first)
    words = [word for word in data.flags() if word not in ("--into", "photos")]
    words += ["--root", str(data.root), "--until", "download", *(["--force", "download"] if how == "forced" else [])]
    assert run_pipeline("pretrain-clip", PretrainClip, build, arguments=words) == 2
    said = capsys.readouterr().err
    assert "it is not made again, for photos@1, photos@2 have pictures in it" in said, said
    assert Path(tar).read_bytes() == body and data.asked == asked
