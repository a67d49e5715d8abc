"""Pictures that lie elsewhere: read there, by few requests where that is far, and told where they are gone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.vlp_core.data.folders import jpeg, write_tar
from vlp_core.data import store
from vlp_core.data.adopted import Place, files_at, find_place, shard_of, write_place
from vlp_core.data.index import Reader, index_tar
from vlp_core.errors import UserError

BODY = bytes(range(256)) * 20_000  # of several chunks


class Remote:
    """A store in memory that counts what is asked of it, and fails as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests, self.failures, self.ranges = 0, 0, True
        self.files = fsspec.filesystem("memory")
        self.files.pipe_file("/set/body", BODY)
        read = self.files.cat_file

        def cat_file(path: str, **range_: Any) -> bytes:
            self.requests += 1
            if self.failures:
                self.failures -= 1
                raise TimeoutError("slow")
            return read(path, **range_) if self.ranges else read(path)

        monkeypatch.setattr(type(self.files), "cat_file", staticmethod(cat_file))
        monkeypatch.setattr(store, "_PAUSE_S", 0.001)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    remote = Remote(monkeypatch)
    yield remote
    remote.files.store.clear()


def placed(folder: Path, place: Place) -> Path:
    write_place(folder, "00000", place)
    found = find_place(folder, "00000")
    assert found is not None and shard_of(found) == (folder, "00000")
    return found


def test_neighbours_on_a_remote_store_cost_few_requests(tmp_path: Path, remote: Remote) -> None:
    path = placed(tmp_path, Place(file="memory://set/body", size=len(BODY)))
    reader = Reader()
    for offset in range(0, 2 * store.CHUNK - 1000, 1000):
        assert reader.read(path, offset, 1000) == BODY[offset : offset + 1000]
    assert remote.requests == 2
    end = len(BODY) - 100
    assert reader.read(path, end - 2 * store.CHUNK, 2 * store.CHUNK + 100) == BODY[end - 2 * store.CHUNK :]


def test_a_remote_store_that_fails_now_and_then_is_asked_again(tmp_path: Path, remote: Remote) -> None:
    path = placed(tmp_path, Place(file="memory://set/body", size=len(BODY)))
    reader = Reader()
    remote.failures = 3
    assert reader.read(path, 10, 100) == BODY[10:110]
    remote.failures = 4
    with pytest.raises(UserError, match=r"memory://set/body: cannot read picture 3000000 .*slow"):
        reader.read(path, 3_000_000, 10)
    assert reader.read(path, 3_000_000, 10) == BODY[3_000_000:3_000_010]


def test_a_server_without_ranges_gives_no_wrong_picture(tmp_path: Path, remote: Remote) -> None:
    remote.ranges = False
    path = placed(tmp_path, Place(file="memory://set/body", size=len(BODY)))
    with pytest.raises(UserError, match="no ranges of bytes"):
        Reader().read(path, 2_000_000, 100)


@pytest.mark.parametrize("change", ["moved", "rewritten", "one file"])
def test_what_moved_or_changed_since_is_told(tmp_path: Path, change: str) -> None:
    tar = tmp_path / "there.tar"
    write_tar(tar, [("0.jpg", jpeg(0)), ("1.jpg", jpeg(1))])
    row = index_tar(tar).to_pylist()[1]
    path = placed(tmp_path / "images", Place(file=str(tar), size=tar.stat().st_size))
    place = row["offset"], row["length"]
    assert Reader().read(path, *place) == jpeg(1)
    if change == "moved":
        tar.rename(tmp_path / "elsewhere.tar")
    elif change == "rewritten":
        write_tar(tar, [("0.jpg", jpeg(5)), ("1.jpg", jpeg(1)), *((f"{number}.jpg", jpeg(2)) for number in range(9))])
    else:
        tar.write_bytes(jpeg(1) + b"more")
        path = placed(tmp_path / "other", files_at([str(tar)]))
        place = 0, row["length"]
    with pytest.raises(UserError, match=r"there\.tar: .* make the step again that adopted it") as error:
        Reader().read(path, *place)
    assert "\n" not in str(error.value)
