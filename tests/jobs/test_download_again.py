"""Links that were asked before: only what has changed since is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from jobs import download
from tests.jobs.downloading import Listener, answer, body_of, fetched, names, settings, write_pairs
from tests.vlp_core.web.site import Site
from vlp_core.data.layout import IMAGES
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.tracker import Silent

SINCE = "Sat, 01 Jan 2022 00:00:00 GMT"


async def _known(request: web.Request) -> web.StreamResponse:
    """1.jpg is as it was by its ETag, 2.jpg by its date; 3.jpg is, but its server does not say so."""
    path, headers = request.match_info["path"], request.headers
    if path == "1.jpg" and headers.get("If-None-Match") == '"one"':
        return web.Response(status=304, headers={"ETag": '"one"'})
    if path == "2.jpg" and headers.get("If-Modified-Since") == SINCE:
        return web.Response(status=304)
    reply = await answer(request)
    if path == "4.jpg":
        reply.headers["ETag"] = '"new"'
    return reply


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(_known) as site:
        yield site


def test_what_has_not_changed_since_is_a_row_without_a_picture(site: Site, tmp_path: Path) -> None:
    paths = [*names([1, 2, 3, 4, 5]), "dead"]
    shas = [sha256_of(body_of(path)) for path in names([1, 2, 3])]
    pairs = write_pairs(
        tmp_path / "pairs",
        paths,
        etag=['"one"', None, None, '"old"', None, '"gone"'],
        last_modified=[None, SINCE, SINCE, None, None, None],
        earlier_sha256=[*shas, "0" * 64, None, None],
        label="cat",
    )
    out, listener = tmp_path / "out", Listener()
    summary = download.run(pairs=pairs, fetch=settings(site), out=out, tracker=listener, refresh=True)
    assert summary.counts == {"rows": 6, "success": 2, "unchanged": 3, "failed": 1, "failed/http": 1}
    assert listener.said[-1] == (6, 6, 1, "rows")
    table = pq.read_table(out / "00000.parquet")
    assert table.column_names == [*IMAGES.names, "label"]
    assert table["status"].to_pylist() == [*["unchanged"] * 3, *["success"] * 2, "failed_to_download"]
    assert table["error_message"].to_pylist() == [None] * 5 + ["http 404"]
    assert table["sha256"].to_pylist() == [*shas, *(sha256_of(body_of(path)) for path in names([4, 5])), None]
    index = pq.read_table(out / "00000_index.parquet")
    assert index["uid"].to_pylist() == table["uid"].to_pylist()[3:5]
    ledger = pq.read_table(out / "_ledger" / "00000.parquet")
    assert ledger["outcome"].to_pylist() == [*["unchanged"] * 3, *["success"] * 2, "final"]
    assert ledger["http_status"].to_pylist() == [304, 304, 200, 200, 200, 404]
    assert ledger["etag"].to_pylist() == ['"one"', None, None, '"new"', None, None]
    assert ledger["last_modified"].to_pylist() == [None, SINCE, None, None, None, None]
    assert ledger["sha256"].equals(table["sha256"])

    site.seen.clear()
    again = download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent(), refresh=True)
    assert again == summary and not site.seen, "a shard without pictures is whole, too"


@pytest.mark.parametrize(
    ("line", "statuses"), [("0" * 64, [304, 304, 200]), (f"phash:{'01' * 8}", [200, 200, 200])], ids=["sha256", "phash"]
)
def test_a_picture_is_asked_for_whole_only_where_it_has_to_be_looked_at(
    site: Site, tmp_path: Path, line: str, statuses: list[int]
) -> None:
    """It is as unchanged then as what its server says of it."""
    paths = names([1, 2, 3])
    known = {"etag": ['"one"', None, None], "last_modified": [None, SINCE, SINCE]}
    shas = [sha256_of(body_of(path)) for path in paths]
    pairs = write_pairs(tmp_path / "pairs", paths, **known, earlier_sha256=shas)
    listed = tmp_path / "never.txt"
    listed.write_text(line)
    out = fetched(pairs, tmp_path / "out", settings(site, never_store=(listed,)))
    rows = pq.read_table(out / "00000.parquet")
    assert rows["status"].to_pylist() == ["unchanged"] * 3 and rows["sha256"].to_pylist() == shas
    assert pq.read_table(out / "_ledger" / "00000.parquet")["http_status"].to_pylist() == statuses


def test_a_refresh_may_have_nothing_to_ask_for_and_may_get_nothing(site: Site, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", [], ["dead1", "dead2"])
    out = tmp_path / "out"
    summary = download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent(), refresh=True)
    assert summary.counts == {"rows": 2, "success": 0, "failed": 2, "unchanged": 0, "failed/http": 2}
    for given in (write_pairs(tmp_path / "empty", []), tmp_path):
        summary = download.run(pairs=given, fetch=settings(site), out=tmp_path / "none", tracker=Silent(), refresh=True)
        assert summary.counts == {"rows": 0, "success": 0, "failed": 0, "unchanged": 0}
        with pytest.raises(UserError, match=r"nothing to fetch|no shards of pairs"):
            download.run(pairs=given, fetch=settings(site), out=tmp_path / "none", tracker=Silent())
    assert site.seen.total() == 2
