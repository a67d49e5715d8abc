"""The parts of a page: hosts and reasons, groups of copies, the truth, thumbnails."""

import base64
import io
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from tests.vlp_core.data.folders import broken, row, write_shard
from vlp_core.report.failures import NO_HOST, by_host, host_of, hosts_of, kinds_of
from vlp_core.report.fates import EVALUATION, NOT_FETCHED, OTHER_SETS, SELECTED, Planted, matrix, scores
from vlp_core.report.groups import groups_of
from vlp_core.report.page import clean
from vlp_core.report.thumbnails import SIDE, places_of, thumbnails


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.test/x.jpg", "a.test"),
        ("https://A.Test:8080", "a.test"),
        ("http://user:word@a.test/x@y", "a.test"),
        ("http://a.test?x=http://b.test/", "a.test"),
        ("http://[::1]:80/x", "[::1]"),
        ("pictures/x.jpg", "(none)"),
        (None, "(none)"),
    ],
)
def test_the_host_of_a_url(url: str | None, host: str) -> None:
    assert hosts_of(pa.array([url], pa.string())).to_pylist() == [host]
    assert host_of(url or "") == (None if host == NO_HOST else host)


def test_failures_by_kind_and_by_host_with_the_commonest_reason() -> None:
    reasons = ["http 404", "http 404", "http 410", None, "time-out", None]
    urls = [*(["http://a.test/"] * 4), "http://b.test/", "http://b.test/"]
    kinds = kinds_of({"http 404": 2, "time-out": 1, "http 410": 1, "whoever": 1})
    assert [(kind.name, kind.rows) for kind in kinds] == [("http", 3), ("network", 1), ("unforeseen", 1)]
    found = by_host(pa.table({"url": urls, "error_message": pa.array(reasons, pa.string())}))
    assert [(host.name, host.rows, host.failed, host.reason) for host in found] == [
        ("a.test", 4, 3, "http 404"),
        ("b.test", 2, 1, "time-out"),
    ]


def test_groups_have_their_sizes_and_members() -> None:
    kept = ["a"] * 7 + ["b", "c"]
    reasons = ["exact"] * 7 + ["near", "exact"]
    copies = pa.table({"uid": [f"x{n}" for n in range(9)], "kept_uid": kept, "reason": reasons})
    found = groups_of(copies.cast(pa.schema([(name, pa.large_string()) for name in copies.column_names])), 3)
    assert found.reasons == {"exact": 8, "near": 1} and found.sizes == (("2", 2), ("5 to 9", 1))
    assert [(group.stays, group.size, len(group.copies)) for group in found.largest] == [("a", 8, 5)]
    assert [(group.stays, group.copies) for group in found.some] == [
        ("b", (("x7", "near"),)),
        ("c", (("x8", "exact"),)),
    ]
    assert groups_of(copies.slice(0, 0), 3).sizes == ()


def test_precision_and_recall_of_what_was_planted() -> None:
    """Rules take one of two faults and one good picture with its copy, and of another a copy alone; of three showings
    of p that pass two are merged, and q with r wrongly."""
    rows = [
        ("good", "p", SELECTED, "1"),
        ("near", "p", "near", "1"),
        ("exact", "p", SELECTED, "3"),
        ("good", "q", SELECTED, "4"),
        ("good", "r", "near", "4"),
        ("foreign", "s", "language=en", "6"),
        ("wrong", "t", SELECTED, "7"),
        ("good", "u", "language=en", "8"),
        ("exact", "u", "language=en", "13"),
        ("exact", "p", "language=en", "14"),
        ("leak", "z", "language=en", "15"),
        ("leak", "v", "near", "9"),  # goes with what it is a copy of
        ("leak", "v", EVALUATION, "9"),
        ("leak", "w", SELECTED, "10"),
        ("good", "i", OTHER_SETS, "16"),  # which is no question to decontamination, be it a leak or not
        ("leak", "j", OTHER_SETS, "17"),
        ("leak", "j", "near", "17"),
        ("dead", "x", NOT_FETCHED, "11"),
        ("tiny", "y", NOT_FETCHED, "12"),
    ]
    kind, origin, fate, group = (pa.array(column) for column in zip(*rows, strict=True))
    planted = Planted(kind=kind, origin=origin, fate=fate, group=group)
    found = {score.name: (score.right, score.wrong, score.missed) for score in scores(planted, ["language=en"])}
    assert found == {"rules": (1, 1, 1), "dedup": (3, 1, 2), "decontamination": (2, 0, 1)}
    told, table = matrix(planted, [NOT_FETCHED, "ratio<=3", "language=en", "near", EVALUATION, OTHER_SETS, SELECTED])
    assert told == [NOT_FETCHED, "language=en", "near", EVALUATION, OTHER_SETS, SELECTED]
    assert dict(table)["good"] == [0, 1, 1, 0, 1, 2] and dict(table)["leak"] == [0, 1, 2, 1, 1, 1]


def test_pictures_become_small_ones_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (600, 300), (255, 0, 0, 0))
    file = io.BytesIO()
    clear.save(file, "PNG")
    for shard, bodies in enumerate([[file.getvalue()], [b"no picture", file.getvalue(), broken("chunk")]]):
        write_shard(tmp_path, shard, [row(10 * shard + n, shard, body) for n, body in enumerate(bodies)], bodies)
    uids = [row(number, 0, b"x")["uid"] for number in (0, 10, 11, 12)]
    places = places_of([tmp_path], [*uids, "nowhere"])
    assert set(places) == set(uids) and places[uids[2]].captions[0] == "picture 11"
    shown = thumbnails(places)
    assert set(shown) == {uids[0], uids[2]}
    body = base64.b64decode(shown[uids[2]].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(body)) as small:
        assert small.size == (SIDE, SIDE // 2) and min(small.convert("RGB").getpixel((5, 5))) > 250


def test_text_is_one_line_without_what_is_not_seen() -> None:
    assert clean("a\u202eb\n\n c\x00d", 20) == "a b c d"
    assert clean("x" * 30, 10) == "x" * 9 + "…"
