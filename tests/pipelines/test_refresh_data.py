"""Refreshing as a user does: releases under names, in MLflow, read by other pipelines, and through kills."""

from pathlib import Path

import pytest

from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.refresh_data import Refresh
from pipelines.series import Series
from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.released import read_in_place
from tests.jobs.refreshing import HOST, changes_of, contents
from tests.pipelines.conftest import Command
from tests.pipelines.refreshing import PIPELINE, Data, runs
from tests.vlp_core.web.site import picture
from tests.waiting import until
from vlp_core.data.adopted import Place, read_place
from vlp_core.data.releases import newest, read
from vlp_core.identity import sha256_of


@pytest.mark.usefixtures("cluster", "handlers")
def test_releases_are_made_compared_in_mlflow_read_by_other_pipelines_and_collected(
    data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    data.pictures(*range(6))
    data.lists(*(f"{number}.jpg" for number in range(5)))
    assert data.main("--explain") == 0 and not (data.root / "releases").exists()
    assert data.main("--fetch.workers", "2") == 0
    assert "photos@1: 5 pictures (5 added" in capsys.readouterr().out
    data.lists(*(f"{number}.jpg" for number in range(1, 6)))
    assert data.main() == 0
    last = newest(data.root, "photos")
    assert last is not None and changes_of(last) == {"0.jpg": "removed", "5.jpg": "added"}
    assert data.main() == 0
    assert (
        "nothing to refresh: nothing is new in the lists and nothing is due; photos@2 stands" in capsys.readouterr().out
    )
    assert set(data.asked.values()) == {1}

    parents = runs(data.root, "refresh-data", "tags.`vlp.release` LIKE 'photos@%'")
    told = {run.data.tags["vlp.release"]: run for run in parents}
    assert {name: run.data.metrics["release/added"] for name, run in told.items()} == {"photos@1": 5, "photos@2": 1}
    shown = {item.dataset.name: item.dataset.digest for item in told["photos@2"].inputs.dataset_inputs}
    assert (
        shown == {"photos@2": last.digest[:36]}
        and "release-card.md" in told["photos@2"].data.tags["mlflow.note.content"]
    )

    named = ["--source", "releases:photos@1", "--root", str(data.root), "--until", "hash"]
    assert run_pipeline("pretrain-clip", PretrainClip, build, arguments=named) == 0
    (adopted,) = runs(data.root, "pretrain-clip", "tags.`vlp.step` = 'adopt'")
    assert [item.dataset.name for item in adopted.inputs.dataset_inputs] == ["photos@1"]
    assert set(data.asked.values()) == {1}
    assert run_pipeline("pretrain-clip", PretrainClip, build, arguments=["--source", "releases:photo", *named[2:]]) == 2
    assert "releases:photo: no such release in" in capsys.readouterr().err

    assert data.main("--keep", "1", "--explain") == 0
    assert "would remove photos@1\n" in capsys.readouterr().out and len(contents(read(data.root, "photos", 1))) == 5
    assert data.main("--keep", "1", "--explain", "--recheck-days", "0") == 0
    assert "would remove photos@1\nwould remove photos@2\n" in capsys.readouterr().out
    listed = data.list.read_bytes()
    data.lists(*(f"{number}.jpg" for number in range(4)))
    assert data.main("--keep", "1", "--explain") == 0
    said = capsys.readouterr().out
    assert "would remove photos@1\nwould remove photos@2 (where this refresh makes a release)\n" in said
    assert not any(tar.parent.name in said for tar in read_in_place(last.path)), (
        "photos@3 would have its pictures there"
    )
    data.list.write_bytes(listed)
    assert data.main("--keep", "1") == 0
    said = capsys.readouterr().out
    assert "removes photos@1" in said and "removes adopt/" in said and "removes hash/" in said
    assert len(contents(last)) == 5 and len(list((data.root / "release").glob("[!.]*"))) == 1


@pytest.mark.usefixtures("cluster", "handlers")
def test_what_is_taken_down_while_a_refresh_is_under_way_is_left_out_and_nothing_is_asked_again(data: Data) -> None:
    """Also by the first tombstone of all."""
    data.pictures(*range(5))
    data.lists("0.jpg", "1.jpg", "4.jpg")
    data.on_asked = lambda: data.take_down(url=f"{HOST}/4.jpg")
    assert data.main() == 0
    assert contents(read(data.root, "photos", 1)).keys() == {"0.jpg", "1.jpg"}
    data.on_asked = lambda: None
    data.lists("0.jpg", "1.jpg", "2.jpg", "3.jpg")
    assert data.main("--until", "download") == 0
    data.take_down(url=f"{HOST}/2.jpg", sha256="0" * 64)
    assert data.main() == 0
    last = newest(data.root, "photos")
    assert last is not None and contents(last).keys() == {"0.jpg", "1.jpg", "3.jpg"} and set(data.asked.values()) == {1}
    shunned = picture(80, 60, seed=9)
    data.take_down(sha256=sha256_of(shunned))
    data.pictures(9)
    data.lists("0.jpg", "9.jpg")
    assert data.main() == 0
    tars = [path.read_bytes() for path in data.root.glob("download/*/*.tar")]
    assert tars and not any(shunned in tar for tar in tars), "stored, though it is taken down"


@pytest.mark.usefixtures("cluster", "handlers")
def test_the_first_release_where_something_is_taken_down_does_not_ask_for_it(data: Data) -> None:
    """Of whatever name: tombstones are those of a root."""
    data.pictures(0, 1)
    data.lists("0.jpg", "1.jpg")
    data.take_down(url=f"{HOST}/1.jpg")
    assert data.main() == 0
    assert data.asked.keys() == contents(read(data.root, "photos", 1)).keys() == {"0.jpg"}


@pytest.mark.usefixtures("cluster", "handlers")
def test_the_first_release_is_of_the_download_that_another_pipeline_has_made(data: Data) -> None:
    data.pictures(0, 1)
    data.lists("0.jpg", "1.jpg")
    named = [word for word in data.flags() if word not in ("--into", "photos")]
    named += ["--root", str(data.root), "--until", "download"]
    assert run_pipeline("pretrain-clip", PretrainClip, build, arguments=named) == 0
    assert data.main() == 0 and len(contents(read(data.root, "photos", 1))) == 2
    assert data.asked == {"0.jpg": 1, "1.jpg": 1}


def test_unless_told_otherwise_what_answered_for_good_is_asked_again_after_90_days() -> None:
    assert Refresh().recheck_days == 90


def places_of(data: Data) -> list[Place]:
    return [read_place(path) for path in data.root.glob("release/*/_places/*.json")]


@pytest.mark.usefixtures("cluster", "handlers")
def test_a_refresh_that_was_begun_with_a_wrong_list_is_discarded_where_that_is_asked_for(
    data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    data.pictures(*range(5))
    data.lists("0.jpg", "1.jpg")
    assert data.main() == 0
    data.lists("0.jpg", "2.jpg")
    assert data.main("--until", "download") == 0
    (fetched,) = {*data.root.glob("download/*[0-9a-f]")} - {Path(place.file).parent for place in places_of(data)}

    def told(*flags: str) -> str:
        capsys.readouterr()
        assert data.main(*flags) == 0
        return capsys.readouterr().out

    none = "nothing to discard: no refresh of photos was begun with other lists\n"
    assert none in told("--discard", "--explain")
    data.lists("0.jpg", "1.jpg", "3.jpg")
    begun, stays = "! photos@2 was begun with other lists: it ", f", and what it has fetched stays in {fetched}\n"
    assert f"{begun}would be brought to its end, then those of today would be asked (" in told("--explain")
    said = told("--discard", "--explain")
    assert f"{begun}would be left{stays}" in said and "brought to its end" not in said
    assert f"{begun}is left{stays}" in told("--discard")
    assert fetched.is_dir() and none in told("--discard", "--explain")
    last = newest(data.root, "photos")
    assert last is not None and last.number == 2 and contents(last).keys() == {"0.jpg", "1.jpg", "3.jpg"}
    assert data.asked == {"0.jpg": 1, "1.jpg": 1, "2.jpg": 1, "3.jpg": 1}


@pytest.mark.usefixtures("cluster", "handlers")
def test_a_refresh_that_failed_before_it_asked_for_anything_is_not_gone_on_with(
    data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one whose list was another data set's: the list of the next day is refreshed, and not that one again."""
    data.pictures(*range(5))
    data.lists("0.jpg", "1.jpg")
    assert data.main() == 0
    data.lists("3.jpg", "4.jpg")
    assert data.main() == 2 and "taken by another data set" in capsys.readouterr().err
    data.lists("0.jpg", "1.jpg", "2.jpg")
    assert data.main() == 0
    last = newest(data.root, "photos")
    assert last is not None and last.number == 2 and set(data.asked) == {"0.jpg", "1.jpg", "2.jpg"}


@pytest.mark.usefixtures("cluster", "handlers")
def test_what_a_refresh_of_earlier_lists_has_asked_is_not_lost_where_bringing_it_to_its_end_fails(
    data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the reason, the same command goes on from there, until it is left on purpose."""
    data.pictures(*range(4))
    data.lists("0.jpg", "1.jpg")
    assert data.main() == 0
    data.says["2.jpg"] = 404
    data.take_down(url=f"{HOST}/0.jpg")
    data.lists("0.jpg", "2.jpg")
    assert data.main() == 2 and "no picture would be left" in capsys.readouterr().err
    data.lists("0.jpg", "1.jpg", "3.jpg")
    assert data.main("--into", "photos@2") == 2
    assert "photos@2: was begun with other lists; leave the number out" in capsys.readouterr().err
    for _ in range(2):
        assert data.main() == 2 and "no picture would be left" in capsys.readouterr().err
    assert "3.jpg" not in data.asked and data.asked["2.jpg"] == 1
    assert data.main("--discard") == 0
    last = newest(data.root, "photos")
    assert last is not None and last.number == 2 and contents(last).keys() == {"1.jpg", "3.jpg"}


@pytest.mark.usefixtures("cluster", "handlers")
@pytest.mark.parametrize("again", [True, False])
def test_a_refresh_of_earlier_lists_lets_in_what_it_was_told_to(
    data: Data, again: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether that is said again with today's lists or not."""
    data.pictures(*range(4))
    data.lists("0.jpg", "1.jpg")
    assert data.main() == 0
    data.says["1.jpg"] = picture(80, 60, seed=99)
    assert data.main("--recheck-days", "0") == 0
    assert "; 1 wait in quarantine.parquet (--let-in); --source releases:photos@2 reads it" in capsys.readouterr().out
    let_in = ("--let-in", f"{HOST}/1.jpg")
    data.lists("0.jpg", "1.jpg", "2.jpg")
    asked = data.asked.copy()
    assert data.main(*let_in, "--until", "download") == 0
    data.lists("0.jpg", "1.jpg", "2.jpg", "3.jpg")
    assert data.main(*(let_in if again else ())) == 0
    assert "wait in quarantine" not in capsys.readouterr().out
    third, fourth = (read(data.root, "photos", number) for number in (3, 4))
    assert changes_of(third) == {"1.jpg": "added", "2.jpg": "added"} and changes_of(fourth) == {"3.jpg": "added"}
    assert data.asked - asked == {"2.jpg": 1, "3.jpg": 1}


@pytest.mark.usefixtures("cluster", "handlers")
def test_a_first_list_without_a_picture_is_not_gone_on_with(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is what was final asked again by the same list."""
    data.pictures(1)
    data.says["0.jpg"] = 404
    data.lists("0.jpg")
    for _ in range(2):
        assert data.main() == 2 and "every link failed" in capsys.readouterr().err
    data.lists("1.jpg")
    assert data.main() == 0 and data.asked == {"0.jpg": 1, "1.jpg": 1}


def test_a_night_without_network_ends_no_data_set_that_has_not_begun(data: Data) -> None:
    """Also where something was taken down in the root before."""
    data.pictures(1)
    data.take_down(url=f"{HOST}/9.jpg")
    data.lists("1.jpg", "9.jpg")
    there, data.says["1.jpg"] = data.says["1.jpg"], 503
    assert data.main() == 2
    data.says["1.jpg"] = there
    assert data.main() == 0 and data.asked == {"1.jpg": 2}


def test_a_first_list_that_was_taken_down_as_a_whole_is_told(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    data.take_down(host="pictures.test")
    data.lists("0.jpg", "1.jpg")
    assert data.main() == 2 and not data.asked
    assert "photos@1: no picture would be left: all 2 links of the list were taken down" in capsys.readouterr().err


def test_what_the_refresh_before_has_let_in_is_not_let_in_again_after_a_kill(data: Data) -> None:
    """By the same words; by others it is as they say."""
    series, lists = Series(data.root, "photos"), [("list", "0" * 64)]
    assert series.turn(lists, ("a", "b"), done=("a",)).let_in == ("b",)
    assert series.turn(lists, ("a", "b")).let_in == ("b",)
    assert series.turn(lists, ("a",)).let_in == ("a",)
    assert series.turn([("other", "1" * 64)], ("a",)).let_in == ("b",)


def test_a_kill_before_anything_is_asked_leaves_no_refresh_with_other_tombstones(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, lists = Series(data.root, "photos"), [("list", "0" * 64)]
    assert series.turn(lists).takedowns is None
    data.take_down(url=f"{HOST}/1.jpg")
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("pipelines.series.write_bytes", interrupt)
        series.turn(lists, anew=True)
    assert series.turn(lists).takedowns is not None


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("handlers")
def test_a_refresh_that_is_killed_goes_on_and_asks_nothing_twice(data: Data, cluster: str) -> None:
    """Killed while it asks for links, of which some have answered. The list has changed since: the refresh that was
    begun is brought to its end before the next one begins."""
    data.pictures(*range(21))
    first, second = ([f"{number}.jpg" for number in range(count)] for count in (4, 20))
    data.lists(*first)
    assert data.main() == 0
    data.lists(*second)
    command = Command(PIPELINE, data.root, cluster)
    process = command.start(*data.flags("--fetch.per-host", "1", rate="8"))
    until(lambda: sum(data.asked.values()) >= 10, process, every_s=0.01)
    process.kill()
    process.last_words()
    assert newest(data.root, "photos") == read(data.root, "photos", 1)
    data.lists(*second[1:], "20.jpg")
    assert data.main() == 0
    assert len(contents(read(data.root, "photos", 2))) == 20
    last = newest(data.root, "photos")
    assert last is not None and last.number == 3 and changes_of(last) == {"0.jpg": "removed", "20.jpg": "added"}
    assert sum(data.asked.values()) <= 22  # but for the one that was under way when the blow fell
