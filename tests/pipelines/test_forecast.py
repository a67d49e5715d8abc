"""Forecasts: what a sample tells of the whole, by arithmetic on recorded figures."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs import download, ingest, near, repeat, sample, train
from pipelines.forecasting import yields
from pipelines.forecasting.costs import Measured, loads_of
from pipelines.forecasting.fetching import busiest_of, pace_of
from pipelines.forecasting.forecast import Forecast
from pipelines.forecasting.rehearsal import Cost, Rehearsed
from pipelines.forecasting.sampled import keeps_decoded, selecting
from pipelines.forecasting.settings import Sample
from pipelines.forecasting.timeline import Load, Span, busy, timeline
from pipelines.forecasting.training import steps_of
from pipelines.forecasting.yields import Drawn
from pipelines.pretrain_clip import PretrainClip
from pipelines.workflow.record import RUN
from pipelines.workflow.step import step
from tests.pipelines.rehearsing import forecast_of
from vlp_core.curation.settings import Ingest, Select
from vlp_core.curation.unseen import Estimate, copies_of_whole
from vlp_core.data.layout import LEDGER, LEDGER_FOLDER, PAIRS, SELECTION, read_shards
from vlp_core.data.settings import Data
from vlp_core.data.stored import read_selection
from vlp_core.files import write_table
from vlp_core.tracker import Silent
from vlp_core.train.settings import Train
from vlp_core.train.stopwatch import TIMES_FILE, read_times
from vlp_core.web.settings import Fetch

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("groups", "drawn"),
    [
        ({1: 3000, 2: 240}, 900),
        ({1: 2700, 2: 150, 3: 60, 4: 20}, 900),
        ({1: 800_000, 200_000: 1}, 1000),
        ({1: 5000}, 500),
        ({1: 300, 2: 100}, 500),
    ],
    ids=["pairs", "small groups", "one picture everywhere", "none", "all of it"],
)
def test_copies_of_the_whole_are_no_share_of_those_within_a_sample(groups: dict[int, int], drawn: int) -> None:
    sizes = np.repeat(list(groups), list(groups.values()))
    pictures = np.repeat(np.arange(len(sizes)), sizes)
    true = len(pictures) - len(sizes)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(12):
        seen = rng.choice(pictures, min(drawn, len(pictures)), replace=False)
        found.append(copies_of_whole(np.unique(seen, return_counts=True)[1], len(pictures)))
    held = sum(estimate.low <= true <= estimate.high for estimate in found)
    assert held >= 11
    assert abs(np.mean([estimate.value for estimate in found]) - true) <= 0.06 * len(pictures) * (true > 0)


def test_a_share_of_the_sample_is_told_with_an_interval_that_the_whole_lies_in() -> None:
    rng = np.random.default_rng(0)
    whole = (rng.random(5000) < 0.9).astype(float)
    drawn = Drawn(asked=1000, listed=5000)
    told = [drawn.mean(rng.choice(whole, 1000, replace=False)) for _ in range(200)]
    held = np.mean([each.low <= whole.sum() <= each.high for each in told])
    assert 0.91 <= held <= 0.99
    assert np.mean([each.high - each.low for each in told]) < 0.04 * 5000  # a fifth was asked: less is unknown
    exact = Drawn(asked=5000, listed=5000).mean(whole * 7)
    assert exact.low == exact.high == exact.value == pytest.approx(7 * whole.sum())


def _marks(folder: Path, *marks: tuple[str, int, float]) -> None:
    lines = [json.dumps({"what": what, "step": step, "at": at}) for what, step, at in marks]
    (folder / TIMES_FILE).write_text("".join(f"{line}\n" for line in lines))


def test_steps_are_scaled_and_starts_and_checkpoints_counted_by_themselves(tmp_path: Path) -> None:
    killed = (("begun", 0, 0.0), ("reached", 10, 99.0))  # the attempt before is no measure
    _marks(
        tmp_path,
        *killed,
        ("begun", 0, 120.0),
        ("reached", 10, 135.0),  # 10 s more than ten steps take: code is compiled
        ("reached", 25, 142.5),
        ("saved", 25, 145.5),
        ("reached", 50, 158.0),
        ("saved", 50, 161.0),
    )
    times = read_times(tmp_path)
    assert times is not None
    parts = steps_of(times, started=100.0, finished=163.0)
    assert (parts.a_step, parts.a_save, parts.end) == pytest.approx((0.5, 3.0, 2.0))
    assert parts.start == pytest.approx(20 + 10)
    assert parts.of(Train(steps=1000, checkpoint_every=300)) == pytest.approx(30 + 1000 * 0.5 + 4 * 3 + 2)
    assert read_times(tmp_path / "none") is None
    _marks(tmp_path, ("begun", 40, 0.0), ("reached", 50, 5.0))  # again, near its end
    times = read_times(tmp_path)
    assert times is not None and steps_of(times, 0.0, 5.0).spread is None


def test_of_a_training_that_was_killed_at_its_end_no_step_is_known(tmp_path: Path) -> None:
    _marks(tmp_path, ("begun", 0, 0.0), ("reached", 50, 9.0), ("saved", 50, 9.5), ("begun", 50, 20.0))
    (tmp_path / RUN).write_text('{"started": 19.0, "finished": 22.0}')
    steps = {"train": step("train", train.run)}
    forecast = Forecast(forecast_of(PretrainClip(), tmp_path), Sample(links=20, steps=50))
    seen = forecast._measured(steps, {}, {"train": tmp_path}, {}, Rehearsed(nodes=(1.0,), costs={}))
    assert seen.trained == {"train": None}
    assert loads_of([*steps.values()], {}, seen)[0].seconds == 3


def test_what_is_compiled_once_is_no_time_of_the_run_itself(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text('{"started": 19.0, "finished": 60.0, "compiled_s": 30.0}')
    steps = {"near": step("near", near.run)}
    forecast = Forecast(forecast_of(PretrainClip(), tmp_path), Sample(links=20, steps=50))
    seen = forecast._measured(steps, {}, {"near": tmp_path}, {}, Rehearsed(nodes=(1.0,), costs={}))
    assert seen.took == {"near": (19.0, 30.0)}


def test_steps_at_once_share_the_machine_and_starts_do_not() -> None:
    def load(name: str, fixed: float, work: float, share: float, *after: str) -> Load:
        return Load(name=name, after=after, fixed=fixed, work=work, share=share)

    spans = timeline(
        [
            load("fetch", 2, 10, 1.0),
            load("judge", 1, 10, 1.0, "fetch"),
            load("hash", 1, 4, 1.0, "fetch"),
            load("near", 0, 3, 0.5, "hash"),
            load("train", 5, 20, 1.0, "judge"),
        ]
    )
    assert spans["fetch"] == Span(start=0, end=12)
    assert spans["hash"].end == pytest.approx(12 + 1 + 4 * 2)
    assert spans["near"].end == pytest.approx(21 + 3 * 1.5)
    assert spans["judge"].end == pytest.approx(25.5 + 10 - 4 - 3)  # half of it by then, two thirds, then alone
    assert spans["train"].end == pytest.approx(28.5 + 25)
    assert busy([Span(start=0, end=4), Span(start=2, end=5), Span(start=9, end=10)]) == 6


def _answered(folder: Path, seconds: Sequence[float]) -> None:
    times = pa.array([BEGAN + timedelta(seconds=each) for each in seconds], LEDGER.field("last_asked").type)
    columns = {name: pa.nulls(len(seconds), LEDGER.field(name).type) for name in LEDGER.names}
    table = pa.table({**columns, "last_asked": times}, schema=LEDGER)
    write_table(folder / LEDGER_FOLDER / "00000.parquet", table)
    write_table(folder / "00000.parquet", table)


def _listed(folder: Path, urls: Sequence[str]) -> Path:
    count = len(urls)
    uids = [f"{number:032x}" for number in range(count)]
    write_table(folder / "00000.parquet", pa.table([uids, urls, [["a caption"]] * count, ["l"] * count], schema=PAIRS))
    return folder


@pytest.mark.parametrize(
    ("rate", "workers", "work"),
    [(10.0, 1, 10_000.0), (0.0, 1, 1000.0), (0.0, 4, 250.0), (0.0, 99, 250.0)],
    ids=["a host that has most of the links", "no limit", "more fetchers for more links", "no more than have room"],
)
def test_late_answers_are_no_rate_and_the_busiest_host_sets_the_least_time(
    rate: float, workers: int, work: float, tmp_path: Path
) -> None:
    _answered(tmp_path / "download", [*np.arange(950) * 0.01, *([40.0] * 50)])
    pace = pace_of(tmp_path / "download")
    assert pace.a_link == pytest.approx(0.01, rel=0.01)
    assert pace.stragglers == pytest.approx(40 - 10, rel=0.01)
    hosts = [f"http://Most.test:80/{number}" for number in range(3)] + ["https://u@other.test/3", "http://[::1]/4"]
    busiest = busiest_of(_listed(tmp_path / "pairs", hosts))
    assert (busiest.host, busiest.links) == ("most.test", 3)
    pairs = step("ingest", ingest.run, sources=(), ingest=Ingest())
    fetch = Fetch(per_host_rate=rate, threads=2, workers=workers)
    began = BEGAN.timestamp()
    seen = Measured(
        took={"download": (began - 5, began + 42)},
        rehearsed=Rehearsed(nodes=(8.0,), costs={}),
        drawn={"download": Drawn(asked=1000, listed=100_000)},
        paces={"download": pace},
        busiest={"download": replace(busiest, links=100_000)},
        trained={},
        shard_size=1000,
    )
    (load,) = loads_of([step("download", download.run, pairs=pairs, fetch=fetch, serve=None)], {}, seen)
    assert load.work == pytest.approx(work, rel=0.02)
    assert load.fixed == pytest.approx(5 + 30 + 2, rel=0.02)


def test_a_stage_costs_its_start_once_and_its_rows_by_the_row() -> None:
    images = step(
        "download", download.run, pairs=step("ingest", ingest.run, sources=(), ingest=Ingest()), fetch=Fetch()
    )
    from jobs import hash, near

    hashes = step("hash", hash.run, images=images)
    steps = [hashes, step("near", near.run, hashes=hashes, near=Select().near)]
    cost = Cost(part=0.2, sample=2.0, part_rows=100, sample_rows=1000)
    seen = Measured(
        took={"hash": (0.0, 7.0), "near": (7.0, 14.0)},
        rehearsed=Rehearsed(nodes=(4.0,), costs={"hash": cost, "near": cost}),
        drawn={"download": Drawn(asked=1000, listed=1_000_000)},
        paces={},
        busiest={},
        trained={},
        shard_size=1000,
    )
    loads = loads_of(steps, {}, seen)
    assert [load.fixed for load in loads] == pytest.approx([5.0, 5.0])
    assert [load.work for load in loads] == pytest.approx([2000 / 4, 2000])  # shards on all CPUs; one process
    assert [load.share for load in loads] == [1.0, 0.25]


def test_a_sample_is_the_same_links_each_time_across_all_lists(tmp_path: Path) -> None:
    lists = []
    for number in range(2):
        lists.append(tmp_path / f"{number}.csv")
        rows = "".join(f"http://h{number}.test/{each},caption {each}\n" for each in range(300))
        lists[-1].write_text("url,caption\n" + rows)
    asked = []
    for name, given in (("ab", lists), ("ba", lists[::-1])):
        pairs, out = tmp_path / f"pairs-{name}", tmp_path / name
        ingest.run(sources=tuple(given), ingest=Ingest(shard_size=128), out=pairs, tracker=Silent())
        summary = sample.run(pairs=pairs, links=200, out=out, tracker=Silent())
        assert summary.counts == {"links": 200, "links/listed": 600}
        asked.append(read_shards(out, ["url"])["url"].to_pylist())
        assert asked[-1] == read_shards(pairs, ["url"])["url"].to_pylist()[:200]
    assert asked[0] == asked[1]
    assert 60 < sum("h0" in url for url in asked[0]) < 140


def test_a_sample_fills_a_batch_that_is_larger(tmp_path: Path) -> None:
    chosen = pa.table([["a", "b", "c"], [1.0] * 3, [["x"]] * 3, ["h"] * 3], names=SELECTION.names).cast(SELECTION)
    write_table(tmp_path / "selection.parquet", chosen)
    (tmp_path / "out").mkdir()
    repeat.run(selection=tmp_path, least=8, out=tmp_path / "out", tracker=Silent())
    again = read_selection(tmp_path / "out")
    assert again["weight"].to_pylist() == [3.0] * 3 and again["uid"].equals(read_selection(tmp_path)["uid"])


def test_what_does_not_grow_with_the_links_is_set_for_the_sample(tmp_path: Path) -> None:
    entries = tmp_path / "entries.txt"
    entries.write_text("dog\n")
    asked = selecting(Select(balance=entries, balance_t=20_000, at_most=5), share=0.01)
    assert (asked.balance_t, asked.at_most) == (200, None)
    epochs, once = Train(steps=600, batch_size=128), Train(steps=10_000, batch_size=1000)
    assert keeps_decoded(epochs, Data(), 64, pictures=3000, width=256, height=256)
    assert not keeps_decoded(once, Data(), 224, pictures=1e7, width=256, height=256)
    assert not keeps_decoded(replace(once, steps=100_000), Data(), 224, pictures=1e7, width=256, height=256)


def test_caps_and_balancing_are_applied_to_the_whole() -> None:
    passed, copies = Estimate(value=1000, low=900, high=1100), Estimate(value=100, low=50, high=150)
    left, capped, few = (yields._selected(passed, (copies,), 0.5, most) for most in (None, 440, 10))
    assert left.low < 440 < left.value == 450 < left.high
    assert capped == Estimate(value=440, low=left.low, high=440)
    assert few == Estimate(value=10, low=10, high=10)
