"""From a list of real photos to a selection: needs VLP_REAL_DATA."""

import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from tests.pipelines.conftest import PROJECT, Command, root_with
from tests.vlp_core.web.site import Site
from vlp_core.data.layout import SUCCESS, read_shards

PHOTOS = 200
FITTING = ("--filter.rules", "side>=100", "ratio<=3", "words>2", "chars>5")


@pytest.fixture
def served(real_data: Path, tmp_path: Path) -> tuple[zipfile.ZipFile, Path]:
    """The photos, and a list of them with all their captions under a name that only a map of ours resolves."""
    table = pq.read_table(real_data / "flickr8k.parquet")
    chosen = table["image"].unique().slice(0, PHOTOS)
    table = table.filter(pc.is_in(table["image"], chosen))
    urls = pa.array([f"http://photos.test/{image}" for image in table["image"].to_pylist()])
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"url": urls, "caption": table["caption"]}), path)
    return zipfile.ZipFile(real_data / "flickr8k.zip"), path


def only(root: Path, step: str) -> Path:
    (record,) = root.glob(f"{step}/*/_RECORD.json")
    return record.parent


def test_every_real_photo_arrives_with_its_five_captions_and_survives_rules_that_fit(
    served: tuple[zipfile.ZipFile, Path], tmp_path: Path, cluster: str, store: Path
) -> None:
    photos, listed = served

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=photos.read(request.match_info["path"]))

    with Site(answer) as site:
        run = Command(PROJECT / "pipelines" / "pretrain_clip.py", root_with(store, tmp_path / "root"), cluster)
        run("--source", str(listed), "--fetch.resolve", f"*.test={site.address}", *FITTING, "--until", "select")
        assert set(site.hosts) == {"photos.test"}
        assert sum(site.seen.values()) == PHOTOS  # each url is fetched once, however many captions it has
    images = read_shards(only(run.root, "download"))
    assert images.num_rows == PHOTOS
    assert pc.all(pc.equal(images["status"], SUCCESS)).as_py()
    selection = pq.read_table(only(run.root, "select") / "selection.parquet")
    assert selection.num_rows >= PHOTOS - 1  # distinct photos are not taken for copies
    assert pc.mean(pc.list_value_length(selection["captions"])).as_py() > 4.5
    # With no server there, published rules that these small photos fail need no fetch to say so.
    said = run("--source", str(listed), "--filter.rules", "datacomp_basic", "--until", "select", code=2)
    assert "= download" in said and "select" in said.strip().splitlines()[-1]
