"""What the user reads: progress lines, counts, and the DAG's picture."""

import io
from pathlib import Path

import pytest

from pipelines.workflow import dag
from pipelines.workflow.page import describe, steps_table
from pipelines.workflow.progress import PLAIN_EVERY_S, Display, Pace, clock
from pipelines.workflow.step import step
from tests.pipelines.workflow import stages


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65, "1:05"), (3723, "1:02:03"), (-3, "0:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_pace_tells_rate_failures_and_time_left_and_counts_no_head_start() -> None:
    pace = Pace(started=0.0)
    body = {"total": 1000, "failed": 3, "unit": "rows"}
    pace.update({**body, "done": 500}, now=10.0)
    pace.update({**body, "done": 600}, now=12.0)
    assert pace.describe(12.0) == "600/1,000 rows · 50/s · 3 failed · 0:08 left"


def test_a_log_gets_plain_lines_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), [100.0]
    monkeypatch.setattr("pipelines.workflow.progress.time.time", lambda: now[0])
    with Display(stream) as display:
        display.started("fetch", "not made yet")
        for second in range(25):
            now[0] = 100.0 + second
            display.progress("fetch", {"done": second, "total": 25, "failed": 0, "unit": "rows"})
        display.ended("fetch", "✓", "25 rows")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 + int(24 // PLAIN_EVERY_S)
    assert "\x1b" not in stream.getvalue()
    assert lines[-1].startswith("✓ fetch") and lines[-1].endswith("0:24")


def test_describe_shows_the_first_counts_that_are_not_zero() -> None:
    counts = {"rows/read": 12345, "lost": 0, "top1": 0.91234, "a": 1, "b": 2, "c": 3}
    assert describe(counts) == "12,345 rows read · top1 0.9123 · 1 a · 2 b"


def test_the_table_of_steps_says_less_where_mlflow_takes_no_more() -> None:
    rows = [(f"[train-{number}](#/runs/{number})", "made", "12 steps") for number in range(100, 150)]
    whole = steps_table(rows, 8000)
    assert whole.count("12 steps") == 50 and whole.count("\n") == 51
    short = steps_table(rows, len(whole) - 1)
    assert short.count("| made | |") == 50 and len(short) < len(whole)
    last = steps_table(rows, 500)
    assert len(last) <= 500 and "more before" in last and "train-149" in last and "train-100" not in last


def test_figures_do_not_read_as_counts() -> None:
    figures = {"precision/dedup": 1.0, "kendall_tau": -1.0, "loss": 12345.6, "seconds": 1234.5}
    assert describe(figures) == "precision dedup 1.0 · kendall_tau -1.0 · loss 12,346 · seconds 1,234"


def test_the_picture_has_every_step_after_what_it_stands_on(tmp_path: Path) -> None:
    from PIL import Image

    words = step("write", stages.write, text=stages.Text())
    left, right = (step(name, stages.shout, words=words, mark=name) for name in ("left", "right"))
    steps = [words, left, right, step("both", stages.read, files=(left, right))]
    at = dag.places(steps)
    assert at["write"][1] < at["left"][1] < at["both"][1] and len(set(at.values())) == 4
    dag.draw(steps, {"write": "made", "left": "failed"}, {"write": "2 words"}, tmp_path / "dag.png")
    assert Image.open(tmp_path / "dag.png").width > 300


def test_an_arrow_that_others_imply_is_left_out() -> None:
    words = step("write", stages.write, text=stages.Text())
    loud = step("loud", stages.shout, words=words, mark="!")
    assert dag.direct(step("both", stages.read, files=(words, loud))) == ["loud"]
