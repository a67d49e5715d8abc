"""A rehearsal of one stage over a few pictures, which takes as long as a file says; and the forecast of a pipeline."""

import time
from pathlib import Path

from jobs import download, ingest
from pipelines.forecasting.rehearsal import Rehearsed, rehearse
from pipelines.forecasting.settings import Forecasting
from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.workflow.cli import Invocation
from pipelines.workflow.step import step
from tests.jobs.pictures import Picture, write_images
from tests.vlp_core.web.site import picture
from vlp_core.curation.settings import Ingest
from vlp_core.tracker import Summary, Tracker
from vlp_core.web.settings import Fetch

HOLD, BEGAN = "hold", "began"


def look(*, images: Path, told: Path, out: Path, tracker: Tracker) -> Summary:
    """Goes on when HOLD is gone."""
    (out / "looked").touch()
    with (told / BEGAN).open("a") as file:
        file.write(f"{out}\n")
    while (told / HOLD).exists():
        time.sleep(0.01)
    return Summary()


def made(folder: Path) -> Path:
    """Pictures that a forecast has fetched; returns its folder."""
    pictures = [Picture(url=f"http://h.test/{number}", body=picture(seed=number)) for number in range(10)]
    write_images(folder / "images", pictures)
    (folder / "forecast").mkdir()
    return folder / "forecast"


def rehearsed(folder: Path) -> Rehearsed:
    pairs = step("ingest", ingest.run, sources=(), ingest=Ingest())
    images = step("download", download.run, pairs=pairs, fetch=Fetch())
    looks = step("look", look, images=images, told=folder)
    return rehearse([looks], {"download": folder / "images", "look": folder / "look"}, folder / "forecast")


def forecast_of(config: PretrainClip, root: Path) -> Invocation:
    """The main job with --forecast."""
    return Invocation("pretrain-clip", config, Forecasting(forecast=True), build, (), root)
