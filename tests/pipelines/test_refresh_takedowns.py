"""Takedowns that come while a refresh is under way: what it still has to ask, store or name is without them."""

from fcntl import LOCK_EX
from typing import Any

import pytest

from pipelines.workflow.results import Results
from tests.jobs.refreshing import HOST, contents, counts_of, rows_of
from tests.pipelines.conftest import Command
from tests.pipelines.refreshing import PIPELINE, Data
from tests.waiting import until
from vlp_core.data.releases import newest, numbers, read
from vlp_core.files import flock
from vlp_core.identity import sha256_of


def has_let_go(data: Data) -> bool:
    """Whoever asked for the killed one, and may not know of that yet."""
    (journal,) = data.root.glob("download/*.partial/_work/*/journal")
    with journal.open("a") as file:
        return flock(file, LOCK_EX)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("release", [1, 2])
def test_what_is_taken_down_after_a_kill_is_not_asked_for_when_the_refresh_goes_on_nor_stored(
    data: Data, cluster: str, release: int
) -> None:
    data.pictures(*range(40))
    links = [f"{number}.jpg" for number in range(40)]
    if release == 2:
        data.lists(*links[:4])
        assert data.main() == 0
    held = set(data.asked)
    data.lists(*links)
    one = ("--fetch.per-host", "1", "--ingest.shard-size", "64")
    process = Command(PIPELINE, data.root, cluster).start(*data.flags(*one, rate="8"))
    until(lambda: sum(data.asked.values()) >= 10, process, every_s=0.01)
    process.kill()
    process.last_words()
    until(lambda: has_let_go(data))
    came = next(path for path in data.asked if path not in held)
    asked, left = data.asked.copy(), [path for path in links if path not in data.asked]
    shown = sorted(held)[:1]
    urls = [f"{HOST}/{path}" for path in (came, *left[:3], *shown)]
    data.take_down(url=urls, sha256=sha256_of(data.says[left[3]]))
    assert data.main(*one) == 0
    assert [data.asked[path] for path in (came, *left[:4])] == [1, 0, 0, 0, 1]
    tars = [path.read_bytes() for path in data.root.glob("download/*/*.tar")]
    assert not any(data.says[path] in tar for tar in tars for path in (came, *left[:4]))
    last = read(data.root, "photos", release)
    assert contents(last).keys() == set(links) - {came, *left[:4], *shown}
    assert rows_of(last).keys() == set(links) - {came, *left[:3], *shown}
    told = {"taken_down": len(shown), "taken_down/pictures": 0, "failed": 1, "failed/refused": 1}
    assert counts_of(last).items() >= told.items()
    assert sum((data.asked - asked).values()) <= len(links) - len(asked) - 3 + 1  # what was under way at the blow


@pytest.mark.usefixtures("cluster", "handlers")
def test_a_release_is_made_anew_where_something_is_taken_down_before_it_has_its_name(
    data: Data, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what was fetched already."""
    data.pictures(*range(3))
    data.lists(*(f"{number}.jpg" for number in range(3)))
    data.take_down(url=f"{HOST}/0.jpg")
    with monkeypatch.context() as meanwhile:

        def published(results: Results, step: Any, *rest: Any, whole: Any = Results.publish, **more: Any) -> Any:
            record = whole(results, step, *rest, **more)
            if step.name == "release":
                data.take_down(url=[f"{HOST}/0.jpg", f"{HOST}/1.jpg"])
            return record

        meanwhile.setattr(Results, "publish", published)
        assert data.main() == 2
    assert "photos@1: something was taken down since it was made; start again" in capsys.readouterr().err
    assert newest(data.root, "photos") is None
    assert data.main() == 0 and numbers(data.root, "photos") == [1]
    assert contents(read(data.root, "photos", 1)).keys() == {"2.jpg"}
    assert data.asked == {"1.jpg": 1, "2.jpg": 1}
