"""Headers looked at together give what they give one by one, and damage among them has the same words."""

import io
import tarfile
from collections.abc import Callable

import pytest

from vlp_core.data.tar import BLOCK, Member, TarError, members_of
from vlp_core.data.tar_headers import Run, members_in_runs

MANY = 1300  # several runs


def plain(_: tarfile.TarInfo) -> None:
    pass


def long_name(member: tarfile.TarInfo) -> None:
    member.name = f"{'a folder/' * 11}{member.name}"


def kind(of: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.type = of

    return change


def said(key: str, value: str) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.pax_headers = {key: value}

    return change


CHANGES = {
    "plain": plain,
    "long names": long_name,
    "folders": kind(tarfile.DIRTYPE),
    "of another type": kind(tarfile.CONTTYPE),
    "of no type": kind(tarfile.AREGTYPE),
    "named by records": said("path", "the name that counts.jpg"),
    "with more records": said("comment", "x" * 600),
    "sized by records": said("size", "600"),
}


def tar_of(change: Callable[[tarfile.TarInfo], None], every: int, format: int) -> bytes:
    """A tar whose every so many-th member is changed; every member has a time with a fraction, which records say."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for number in range(MANY):
            member = tarfile.TarInfo(f"{number:06d}.{('jpg', 'txt')[number % 2]}")
            member.mtime = number + 0.5 if format == tarfile.PAX_FORMAT else number  # type: ignore[assignment]
            if number % every == every - 1:
                change(member)
            member.size = (600, 3, 512)[number % 3] if member.isreg() and not member.pax_headers else 0
            tar.addfile(member, io.BytesIO(b"z" * member.size))
            if format == tarfile.PAX_FORMAT and "size" in member.pax_headers:
                file.write(b"z" * 1024)
                tar.offset += 1024
    return file.getvalue()


def together(body: bytes, ahead: int) -> list[Member]:
    found: list[Member] = []
    for part in members_in_runs(lambda offset, length: body[offset : offset + length], len(body), ahead=ahead):
        found += members(part) if isinstance(part, Run) else part
    return found


def members(run: Run) -> list[Member]:
    names = [header[:100].tobytes().rstrip(b"\0").decode() for header in run.headers]
    return [Member(*row) for row in zip(names, run.offsets.tolist(), run.lengths.tolist(), strict=True)]


def one_by_one(body: bytes) -> list[Member]:
    return list(members_of(lambda offset, length: body[offset : offset + length], len(body)))


@pytest.mark.parametrize("every", [1, 150])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_members_found_together_are_those_found_one_by_one(
    change: Callable[[tarfile.TarInfo], None], format: int, every: int
) -> None:
    """Whether none, few or all of them are as most tars have them."""
    body = tar_of(change, every, format)
    assert together(body, 8192) == one_by_one(body)
    assert together(body, 2**20) == one_by_one(body)


def test_most_members_are_found_together() -> None:
    body = tar_of(long_name, 600, tarfile.PAX_FORMAT)
    parts = members_in_runs(lambda offset, length: body[offset : offset + length], len(body), ahead=8192)
    assert sum(len(part.offsets) for part in parts if isinstance(part, Run)) > 0.85 * MANY


@pytest.mark.parametrize("at", [0, 124, 135, 150, 156, 345, BLOCK + 20, 2 * BLOCK, 2 * BLOCK + 130, 2 * BLOCK + 345])
def test_damage_far_into_a_tar_has_the_words_that_it_has_one_by_one(at: int) -> None:
    """In a member's records, whose header is before its own."""
    body = bytearray(tar_of(plain, 1, tarfile.PAX_FORMAT))
    body[one_by_one(bytes(body))[700].offset - 3 * BLOCK + at] ^= 1
    damaged = bytes(body)
    if at == BLOCK + 20:  # a time is not looked at
        assert together(damaged, 8192) == one_by_one(damaged)
        return
    with pytest.raises(TarError) as expected:
        one_by_one(damaged)
    with pytest.raises(TarError) as found:
        together(damaged, 8192)
    assert str(found.value) == str(expected.value)
