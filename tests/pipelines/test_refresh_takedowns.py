"""Takedowns that come while a refresh is under way: what it still has to ask, store or name is without them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.workflow.results import Results
from tests.jobs.refreshing import HOST, contents
from tests.pipelines.refreshing import Data
from vlp_core.data.releases import newest, numbers, read


@pytest.fixture
def data(tmp_path: Path, store: Path) -> Iterator[Data]:
    data = Data(tmp_path, store)
    with data.site:
        yield data


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
