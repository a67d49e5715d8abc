import io
import tarfile
from pathlib import Path

import pytest

from vlp_core.data.tar_writer import TarWriter

MEMBERS = {"000000000.jpg": b"picture", "ünd.txt": b"", "x" * 100: bytes(512), "last.json": b"1" * 30_000}


def test_it_writes_what_the_standard_library_writes(tmp_path: Path) -> None:
    wanted = io.BytesIO()
    with (
        tarfile.open(fileobj=wanted, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        TarWriter(tmp_path / "x.tar") as writer,
    ):
        for name, body in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o444
            tar.addfile(member, io.BytesIO(body))
            writer.add(name, body)
    made = (tmp_path / "x.tar").read_bytes()
    assert made == wanted.getvalue()


def test_a_name_for_which_a_plain_header_has_no_room_is_refused(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as writer, pytest.raises(ValueError, match="too long a name"):
        writer.add("x" * 101, b"")
