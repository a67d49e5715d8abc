"""What a purge does of a root that is damaged or half made, or for a user without a name: all of it, or one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs.journal import Journal, Outcome
from pipelines import lineage, takedown
from pipelines.workflow.record import Record, bad_files
from tests.jobs.pictures import Picture, write_images
from tests.pipelines.purging import traces
from tests.pipelines.records import recorded
from tests.vlp_core.web.site import picture
from vlp_core.data.tombstones import read_tombstones
from vlp_core.identity import sha256_of

PICTURES = [Picture(url=f"http://pictures.test/{number}.jpg", body=picture(seed=number)) for number in range(4)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A download of two shards."""
    root = tmp_path / "root"
    recorded(write_images(root / "download" / "0", PICTURES, shard_size=2))
    return root


def run(root: Path, *words: str) -> int:
    return takedown.main([*words, "--root", str(root)])


@pytest.mark.parametrize("mended", ["put back", "removed"])
@pytest.mark.parametrize("since", ["long ago", "the purge began"])
def test_a_damaged_tar_is_named_and_the_purge_goes_on_once_it_is_whole_or_gone(
    root: Path, since: str, mended: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, body = root / "download" / "0", PICTURES[0].body
    tar = folder / "00000.tar"
    whole = tar.read_bytes()
    assert body is not None and body in whole

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    if since == "the purge began":
        with monkeypatch.context() as patched:
            patched.setattr("pipelines.purge_result.purge_tar", killed)
            assert run(root, PICTURES[0].url, "--purge") == 130
    tar.write_bytes(whole[:-3000])
    for _ in range(2):
        assert run(root, PICTURES[0].url, "--purge") == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith(f"error: {tar}: truncated or not a tar (") and "put a whole copy back, or remove" in line
    if mended == "removed":
        tar.unlink()
    else:
        tar.write_bytes(whole)
    assert run(root, "--purge") == 0 and not traces(root, body, PICTURES[0].url.encode())
    record = Record.read(folder)
    assert record is not None and bad_files(folder, record, whole=True) == ([tar.name] if mended == "removed" else [])
    assert not (root / ".purge").exists() and (root / "purges.jsonl").exists()


def test_a_folder_whose_first_table_is_damaged_is_not_passed_over(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody could say what it holds: neither is anything taken down, nor is there an answer to who saw it."""
    table = root / "download" / "0" / "00000.parquet"
    table.write_bytes(table.read_bytes()[:-9])
    for asked in (takedown.main, lineage.main):
        assert asked([PICTURES[3].url, "--root", str(root)]) == 2
        assert capsys.readouterr().err.startswith(f"error: {table}: not readable (")
    assert not len(read_tombstones(root))


@pytest.mark.parametrize("named", ["sha256", "who answered"])
def test_what_only_a_killed_download_wrote_down_is_purged(
    root: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work, body = root / "download" / "begun.partial" / "_work" / "00000", picture(seed=9)
    asked, other = (Picture(url=f"http://asked.test/{number}.jpg", body=None) for number in range(2))
    known = {"status": "success", "attempts": 1, "asked": 0}
    with Journal(work) as journal:
        answered = Outcome(**known, sha256=sha256_of(body), final_url="http://answered.test/9.jpg")
        journal.put(0, asked.uid, answered, body)
        journal.put(1, other.uid, Outcome(**known, sha256="0" * 64, final_url=other.url), picture(seed=10))
    word = sha256_of(body) if named == "sha256" else "answered.test"
    assert run(root, word, "--anyway", "--purge", "--explain") == 0
    assert "would purge 1 links" in capsys.readouterr().out
    assert run(root, word, "--anyway", "--purge") == 0
    said = capsys.readouterr().out
    assert "purged download/begun.partial: 1 files" in said and "purged 1 links and 1 pictures: 1 files in 1" in said
    assert not traces(root, body, b"answered.test", sha256_of(body).encode())
    with Journal(work) as journal:
        assert [found is None for found in journal.known([asked.uid, other.uid], check=True)] == [True, False]
    assert run(root, "--purge") == 0 and "nothing to purge" in capsys.readouterr().out


def test_who_has_no_name_is_known_by_the_number(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user whom nobody has entered there."""

    def nobody(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert run(root, PICTURES[0].url) == 0 and run(root, "--purge") == 0
    audited = json.loads((root / "purges.jsonl").read_text())
    assert [audited["by"], *read_tombstones(root)["by"].to_pylist()] == [str(os.getuid())] * 2
