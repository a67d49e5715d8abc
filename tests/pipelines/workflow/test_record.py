"""Records make results real; whatever is not as recorded is found and made again."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.workflow.differences import differences
from pipelines.workflow.outside import Digests, stamp_of
from pipelines.workflow.plan import Planner
from pipelines.workflow.record import (
    RECORD,
    STAMPS,
    CorruptRecordError,
    Record,
    bad_files,
    result_files,
    take_inventory,
)
from pipelines.workflow.results import Results
from pipelines.workflow.source import sources_of
from pipelines.workflow.step import Identity, Step, identify, step
from tests.pipelines.workflow import stages
from vlp_core.errors import UserError
from vlp_core.files import write_text
from vlp_core.tracker import Silent

WRITE = step("write", stages.write, text=stages.Text())


def identity_of(current: Step, root: Path) -> Identity:
    return identify(current, lambda _: {}, Digests(root / "digests.json").of)


def make(current: Step, root: Path, **run: object) -> Record:
    """Run a step here and publish it, as the runner does."""
    results, identity = Results(root), identity_of(current, root)
    out = results.partial(current.name, identity.fingerprint)
    out.mkdir(parents=True)
    summary = current.run(**current.inputs, out=out, tracker=Silent())
    return results.publish(
        current, identity, summary=summary, inventory=take_inventory(out), continued_from=None, run=dict(run)
    )


def folder_of(record: Record, root: Path) -> Path:
    return Results(root).folder(record.step, record.fingerprint)


def planner(root: Path, **options: bool) -> Planner:
    return Planner(results=Results(root), digests=Digests(root / "digests.json"), **options)


def test_a_published_result_is_reused(tmp_path: Path) -> None:
    record = make(WRITE, tmp_path)
    assert planner(tmp_path).decide(WRITE).record == record


def test_equal_work_gives_equal_record_files_whenever_and_wherever_it_is_done(tmp_path: Path) -> None:
    first = make(WRITE, tmp_path / "a", started=1.0, host="one")
    second = make(WRITE, tmp_path / "b", started=2.0, host="two")
    read = [
        (folder_of(record, tmp_path / name) / RECORD).read_bytes() for record, name in ((first, "a"), (second, "b"))
    ]
    assert read[0] == read[1]


def test_underscored_and_hidden_files_are_not_part_of_a_result(tmp_path: Path) -> None:
    (tmp_path / "_state").mkdir()
    for name in ("_state/x", ".y", "z", "_w"):
        (tmp_path / name).write_text(name)
    assert list(take_inventory(tmp_path).files) == ["z"]


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        (lambda path: path.unlink(), False),
        (lambda path: path.write_text("a"), False),
        (lambda path: path.write_text("a c"), False),
    ],
    ids=["missing", "other size", "same size, other content"],
)
def test_a_damaged_file_is_named_and_its_step_made_again(tmp_path: Path, damage: object, whole: bool) -> None:
    record = make(WRITE, tmp_path)
    damage(folder_of(record, tmp_path) / "words.txt")  # type: ignore[operator]
    found = planner(tmp_path, verify=whole)
    assert not found.decide(WRITE).reused
    assert "words.txt is missing or not as it was recorded" in found.warnings[0]
    assert not folder_of(record, tmp_path).exists()


def test_what_a_purge_has_half_done_is_not_taken_for_damage(tmp_path: Path) -> None:
    """By a pipeline that began to plan before the purge: to make it again would take it from under what reads it."""
    file = folder_of(make(WRITE, tmp_path), tmp_path) / "words.txt"
    file.write_text("less")
    write_text(tmp_path / ".purge" / "plan.json", "{}")
    with pytest.raises(UserError, match="pictures are being purged"):
        planner(tmp_path).decide(WRITE)
    assert file.read_text() == "less"


def test_verify_finds_what_size_and_times_do_not_show(tmp_path: Path) -> None:
    record = make(WRITE, tmp_path)
    file = folder_of(record, tmp_path) / "words.txt"
    with file.open("r+") as opened:
        opened.write("x")
    (file.parent / STAMPS).write_text(json.dumps({file.name: stamp_of(file)}))  # as where the disk lost a bit
    assert bad_files(file.parent, record, whole=False) == []
    assert bad_files(file.parent, record, whole=True) == ["words.txt"]
    found = planner(tmp_path, verify=True)
    assert not found.decide(WRITE).reused


@pytest.mark.parametrize("body", ["", "{", "[]", '{"schema": 1}'])
def test_an_unreadable_record_is_named_and_made_again(tmp_path: Path, body: str) -> None:
    record = make(WRITE, tmp_path)
    (folder_of(record, tmp_path) / RECORD).write_text(body)
    found = planner(tmp_path)
    assert not found.decide(WRITE).reused
    assert str(folder_of(record, tmp_path)) in found.warnings[0]


def test_a_record_that_was_edited_is_refused(tmp_path: Path) -> None:
    folder = folder_of(make(WRITE, tmp_path), tmp_path)
    body = json.loads((folder / RECORD).read_text())
    body["counts"]["words"] = 99
    (folder / RECORD).write_text(json.dumps(body))
    with pytest.raises(CorruptRecordError, match="changed after it was written"):
        Record.read(folder)


def everything_in(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize("damage", ["gone", "touched", "half published"])
def test_a_plan_that_is_only_shown_changes_nothing(tmp_path: Path, damage: str) -> None:
    record = make(WRITE, tmp_path)
    folder = folder_of(record, tmp_path)
    if damage == "gone":
        (folder / "words.txt").unlink()
    elif damage == "touched":
        (folder / "words.txt").touch()
    else:
        folder.rename(Results(tmp_path).partial("write", record.fingerprint))
    before = everything_in(tmp_path)
    planner(tmp_path, repair=False, verify=True).decide(WRITE)
    assert everything_in(tmp_path) == before


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


@pytest.mark.parametrize("survived", range(6))
def test_a_kill_at_any_point_of_taking_back_loses_nothing_good_and_keeps_nothing_bad(
    tmp_path: Path, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = step("pair", stages.pair)
    record = make(current, tmp_path)
    results, folder = Results(tmp_path), folder_of(record, tmp_path)
    (folder / "b.txt").write_text("?")
    with monkeypatch.context() as patch:
        left = iter([None] * survived)

        def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if next(left, Killed) is Killed:
                    raise Killed
                return operation(*arguments, **options)

            return call

        patch.setattr(Path, "unlink", counted(Path.unlink))
        patch.setattr(Path, "rename", counted(Path.rename))
        with contextlib.suppress(Killed):
            results.take_back("pair", record.fingerprint, whole=False)
    assert not planner(tmp_path).decide(current).reused
    results.mend("pair", record.fingerprint)
    assert not folder.exists()
    assert sorted(path.name for path in result_files(results.partial("pair", record.fingerprint))) == ["a.txt"]


@pytest.mark.parametrize("replaced", [False, True], ids=["new", "in place of an older"])
def test_a_publication_that_a_kill_interrupted_is_finished(tmp_path: Path, replaced: bool) -> None:
    record = make(WRITE, tmp_path)
    results, folder = Results(tmp_path), folder_of(record, tmp_path)
    if replaced:
        shutil.copytree(folder, folder.with_name(f".{folder.name}.0123.old"))
    folder.rename(results.partial("write", record.fingerprint))
    assert not planner(tmp_path).decide(WRITE).reused
    results.mend("write", record.fingerprint)
    assert planner(tmp_path).decide(WRITE).record == record
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_a_damaged_result_that_somebody_else_is_at_is_left_to_them(tmp_path: Path) -> None:
    record = make(WRITE, tmp_path)
    (folder_of(record, tmp_path) / "words.txt").write_text("x")
    lock = Results(tmp_path).lock("write", record.fingerprint)
    assert lock.take(shared=True)
    assert not planner(tmp_path).decide(WRITE).reused
    assert folder_of(record, tmp_path).exists()
    lock.release()


def test_what_another_run_mended_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    record = make(WRITE, tmp_path)
    Results(tmp_path).take_back("write", record.fingerprint, whole=True)
    assert planner(tmp_path).decide(WRITE).record == record


def test_a_finished_result_is_found_by_a_longer_one_of_its_family(tmp_path: Path) -> None:
    for steps in (3, 5):
        make(step("count", stages.count, count=stages.Count(steps=steps)), tmp_path)
    results = Results(tmp_path)

    def reaches(steps: int) -> str | None:
        wanted = step("count", stages.count, count=stages.Count(steps=steps))
        found = results.extendable(wanted, identity_of(wanted, tmp_path))
        return (found / "count.txt").read_text() if found else None

    assert reaches(9) == "5"
    assert reaches(4) == "3"
    assert reaches(2) is None


def test_reuse_after_the_source_changed_is_one_warning_that_names_the_file_and_the_steps(tmp_path: Path) -> None:
    sources = sources_of(WRITE.source)
    assert {"tests/pipelines/workflow/stages.py", "vlp_core/settings.py"} <= set(sources)
    other = step("pair", stages.pair)
    for current in (WRITE, other):
        make(current, tmp_path, sources={**sources, "vlp_core/settings.py": "another"})
    found = planner(tmp_path)
    assert found.decide(WRITE).reused and found.decide(other).reused
    (line,) = found.tell_of_code()
    assert "vlp_core/settings.py changed since: write, pair" in line
    assert not found.tell_of_code() and not found.tell()


def test_the_plan_names_what_changed_since_the_nearest_result(tmp_path: Path) -> None:
    make(WRITE, tmp_path, finished=1.0)
    make(step("write", stages.write, text=stages.Text(words=("c",), repeat=3)), tmp_path, finished=2.0)
    decision = planner(tmp_path).decide(step("write", stages.write, text=stages.Text(repeat=2)))
    assert decision.reason == "text.repeat: 1 → 2"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["words>2", "side>=200"], ["side>=200", "words>3", "chars>5"], '+ "words>3", + "chars>5", - "words>2"'),
        ([["text", "1"]], [["shouting", "1"], ["text", "1"]], '+ ("shouting", "1")'),
        (None, {"settings": "Near", "bits": 4, "colour": None}, "none → (bits 4)"),
        (None, {"step": "semantic-strict", "content": "0" * 64}, "none → semantic-strict"),
        ("/a/long/folder/of/many/words/that/a/plan/has/to/show/whole.csv", "b.csv", None),
        ("0" * 64, "1" * 64, "000000000000 → 111111111111"),
        (["x"] * 3, ["x"], "3 → 1 of the same"),
        ([], [f"{number}.tar" for number in range(50)], None),
    ],
)
def test_what_changed_can_be_read(before: Any, after: Any, said: str | None) -> None:
    (text,) = differences(before, after, "it")
    assert "…" not in text and len(text) < 200
    assert text == f"it: {said}" if said else str(after[-1] if len(after) < 20 else "and 42 more") in text
