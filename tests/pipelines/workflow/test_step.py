"""Fingerprints: what is in them, and what is not."""

import dataclasses
from pathlib import Path

import pytest

from pipelines.workflow.outside import Digests
from pipelines.workflow.step import Step, identify, resolve, step, walk
from tests.pipelines.workflow import stages
from vlp_core.errors import UserError

RECORDS = {"write": {"step": "write", "content": "c"}}


def fingerprint(current: Step, tmp_path: Path, records: dict[str, dict[str, str]] = RECORDS) -> str:
    digests = Digests(tmp_path / "digests.json")
    return identify(current, lambda found: records[found.name], digests.of).fingerprint


def writing(**settings: object) -> Step:
    return step("write", stages.write, text=stages.Text(**settings))  # type: ignore[arg-type]


def test_equal_inputs_give_equal_fingerprints(tmp_path: Path) -> None:
    assert fingerprint(writing(), tmp_path) == fingerprint(writing(), tmp_path)


@pytest.mark.parametrize("settings", [{"words": ("a",)}, {"repeat": 2}, {"words": ("b", "a")}])
def test_every_setting_that_changes_the_result_is_in_the_fingerprint(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    assert fingerprint(writing(**settings), tmp_path) != fingerprint(writing(), tmp_path)


def test_execution_settings_are_not_in_the_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(writing(pause_s=5.0), tmp_path) == fingerprint(writing(), tmp_path)


def test_the_password_of_a_url_is_in_no_record_and_another_one_is_used(tmp_path: Path) -> None:
    """What was adopted is read with the one that was given then."""
    digests = Digests(tmp_path / "digests.json")
    found = [
        identify(writing(words=(f"http://{word}h.test/00000.tar",)), lambda _: {}, digests.of)
        for word in ("me:secret@", "me:another@", "")
    ]
    assert found[0].inputs == found[1].inputs == found[2].inputs and "secret" not in str(found)
    assert len({one.fingerprint for one in found}) == 3


def test_the_name_of_a_step_is_not_in_its_fingerprint(tmp_path: Path) -> None:
    renamed = step("other", stages.write, text=stages.Text())
    assert fingerprint(renamed, tmp_path) == fingerprint(writing(), tmp_path)


def test_the_content_of_a_dependency_is_in_the_fingerprint(tmp_path: Path) -> None:
    shout = step("shout", stages.shout, words=writing(), mark="!")
    changed = {"write": {**RECORDS["write"], "content": "other"}}
    assert fingerprint(shout, tmp_path) != fingerprint(shout, tmp_path, changed)


def test_a_raised_version_changes_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(writing(), tmp_path)
    monkeypatch.setattr(stages, "VERSION", "2")
    assert fingerprint(writing(), tmp_path) != before


def test_extendable_settings_are_in_the_fingerprint_but_not_in_the_family(tmp_path: Path) -> None:
    digests = Digests(tmp_path / "digests.json")
    short, long = (
        identify(step("count", stages.count, count=stages.Count(steps=steps)), lambda _: {}, digests.of)
        for steps in (3, 9)
    )
    assert short.fingerprint != long.fingerprint
    assert short.family == long.family


def test_an_outside_file_counts_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("one")
    reading = step("read", stages.read, files=(file,))
    before = fingerprint(reading, tmp_path)
    file.write_text("one")
    assert fingerprint(reading, tmp_path) == before
    file.write_text("two")
    assert fingerprint(reading, tmp_path) != before


def test_a_missing_outside_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.parquet: no such file"):
        fingerprint(step("read", stages.read, files=(tmp_path / "gone.parquet",)), tmp_path)


def test_walk_puts_dependencies_first_and_knows_each_step_once() -> None:
    words = writing()
    left, right = (step(name, stages.shout, words=words, mark=name) for name in ("left", "right"))
    both = step("both", stages.read, files=(left, right))
    assert [found.name for found in walk([both])] == ["write", "left", "right", "both"]


def test_what_a_step_comes_after_is_waited_for_and_is_not_in_its_fingerprint(tmp_path: Path) -> None:
    plain, check = writing(), step("check", stages.write, text=stages.Text())
    waiting = dataclasses.replace(plain, after=(check,))
    assert [found.name for found in walk([waiting])] == ["check", "write"]
    assert fingerprint(waiting, tmp_path) == fingerprint(plain, tmp_path)


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two different steps"):
        walk([writing(), writing()])


def test_an_input_the_function_does_not_take_is_refused_when_the_step_is_written() -> None:
    with pytest.raises(TypeError, match="takes no 'txt'"):
        step("write", stages.write, txt=1)


def test_resolve_turns_steps_into_folders_and_leaves_the_rest() -> None:
    words = writing()
    assert resolve((words, 1), lambda _: Path("/x")) == (Path("/x"), 1)
    assert resolve(stages.Text(), lambda _: Path("/x")) == stages.Text()


def test_settings_of_the_same_fields_but_another_type_differ(tmp_path: Path) -> None:
    other = dataclasses.make_dataclass("Other", [("words", tuple, ("a", "b")), ("repeat", int, 1)], frozen=True)
    assert fingerprint(step("write", stages.write, text=other()), tmp_path) != fingerprint(writing(), tmp_path)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mark nan: give a finite number"):
        fingerprint(step("shout", stages.shout, words=writing(), mark=float("nan")), tmp_path)  # type: ignore[arg-type]
