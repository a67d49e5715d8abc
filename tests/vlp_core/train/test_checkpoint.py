import errno
import io
import json
import os

import pytest

from vlp_core.errors import UserError
from vlp_core.train.checkpoint import Checkpoints


def save(checkpoints, step, body=b"weights"):
    folder = checkpoints.partial(step)
    (folder / "deepspeed").mkdir()
    (folder / "deepspeed" / "states.pt").write_bytes(body * 100)
    checkpoints.publish(step, {"samples": step * 8})
    return checkpoints.folder / f"step-{step:08d}"


def test_the_newest_is_found_and_only_so_many_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None
    for step in (90, 100, 110):
        save(checkpoints, step)
    found = Checkpoints(tmp_path).newest()
    assert (found.step, found.state["samples"]) == (110, 880)
    assert [path.name for path in sorted(checkpoints.folder.iterdir())] == ["latest", "step-00000100", "step-00000110"]


def flip_a_byte(folder):
    path = folder / "deepspeed" / "states.pt"
    path.write_bytes(b"W" + path.read_bytes()[1:])


def cut(folder):
    os.truncate(folder / "deepspeed" / "states.pt", 10)


def lose_a_file(folder):
    (folder / "deepspeed" / "states.pt").unlink()


def tear_the_state(folder):
    (folder / "state.json").write_text('{"step": 2')


@pytest.mark.parametrize("damage", [flip_a_byte, cut, lose_a_file, tear_the_state])
def test_a_damaged_one_is_named_and_the_one_before_is_used(damage, tmp_path):
    warnings = []
    checkpoints = Checkpoints(tmp_path, warn=warnings.append)
    save(checkpoints, 1)
    damage(save(checkpoints, 2))
    assert checkpoints.newest().step == 1
    (warning,) = warnings
    assert "step-00000002: damaged" in warning


def test_where_none_is_whole_the_run_does_not_begin_anew_by_itself(tmp_path):
    warnings = []
    checkpoints = Checkpoints(tmp_path, warn=warnings.append)
    for step in (1, 2):
        flip_a_byte(save(checkpoints, step))
    with pytest.raises(UserError, match="_checkpoints: no checkpoint there is whole; delete the folder"):
        checkpoints.newest()
    assert len(warnings) == 2


@pytest.mark.parametrize("name", ["step-00000002/state.json", "step-00000002/deepspeed/states.pt", "latest"])
def test_what_cannot_be_read_is_not_passed_over_as_damaged(name, tmp_path, monkeypatch):
    """A shared disk that does not answer for a moment must not cost the steps since the checkpoint before."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        save(checkpoints, step)
    opened = io.open

    def failing(file, *given, **named):
        if str(file).endswith(name):
            raise OSError(errno.ESTALE, "Stale file handle", str(file))
        return opened(file, *given, **named)

    monkeypatch.setattr(io, "open", failing)
    with pytest.raises((UserError, OSError), match="Stale file handle"):
        checkpoints.newest()
    monkeypatch.undo()
    assert checkpoints.newest().step == 2


def test_what_a_kill_leaves_half_written_is_not_a_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    (checkpoints.partial(2) / "states.pt").write_bytes(b"half")
    assert checkpoints.newest().step == 1
    save(checkpoints, 3)
    assert not list(checkpoints.folder.glob(".*"))


def test_a_checkpoint_of_a_future_that_was_given_up_does_not_push_out_the_newest(tmp_path):
    """Killed before `latest` named step 4, gone on from 2 with checkpoints at other steps, keeping one."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 2)
    latest = (checkpoints.folder / "latest").read_text()
    checkpoints._keep = 2
    save(checkpoints, 4)
    (checkpoints.folder / "latest").write_text(latest)
    again = Checkpoints(tmp_path, keep=1)
    save(again, 3)
    assert again.newest().step == 3


def test_a_checkpoint_that_latest_does_not_name_yet_is_passed_over(tmp_path):
    """A kill may fall between the folder's name and the pointer; the run is then one checkpoint behind, not broken."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    latest = (checkpoints.folder / "latest").read_text()
    folder = save(checkpoints, 2)
    (checkpoints.folder / "latest").write_text(latest)
    assert checkpoints.newest().step == 1
    again = save(checkpoints, 2, b"weightS")
    assert again == folder and json.loads((folder / "state.json").read_text())["step"] == 2
    assert checkpoints.newest().step == 2
