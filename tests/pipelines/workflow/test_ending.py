"""How commands end: exit codes, and one line for what the user may mend."""

import errno
from pathlib import Path

import pytest

from pipelines import refresh_data, takedown
from pipelines.workflow.ending import INTERRUPTED, OK, USAGE_FAULT, USER_FAULT, UsageError, disk_faults, ended
from vlp_core.errors import UserError

ROOT = Path("/data/runs")


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (None, OK, ""),
        (UserError("no such thing"), USER_FAULT, "error: no such thing\n"),
        (UsageError("no such flag"), USAGE_FAULT, "error: no such flag\n"),
        (KeyboardInterrupt(), INTERRUPTED, "stopped\n"),
        (OSError(errno.ENOSPC, "full"), USER_FAULT, "error: /data/runs: no space left;"),
        (OSError(errno.EROFS, "read-only", "/data/runs/a"), USER_FAULT, "error: /data/runs/a: read-only; give --root"),
    ],
)
def test_what_the_user_may_mend_is_one_line(
    fault: BaseException | None, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        with disk_faults(ROOT):
            if fault is not None:
                raise fault
        return OK

    assert ended(work, interrupted="stopped") == code
    told = capsys.readouterr().err
    assert told.startswith(says) and told.count("\n") == (code != OK)


@pytest.mark.parametrize("fault", [OSError(errno.EACCES, "no", "/etc/x"), OSError(errno.EIO, "broken"), ValueError()])
def test_what_is_no_fault_of_the_root_is_the_programs(fault: Exception) -> None:
    with pytest.raises(type(fault)), disk_faults(ROOT):
        raise fault


@pytest.mark.parametrize(
    ("module", "inner", "words"),
    [
        (takedown, "_take_down", ["example.org", "--anyway"]),
        (refresh_data, "_refresh", ["--source", "pairs.parquet", "--into", "photos"]),
    ],
)
def test_a_full_disk_ends_each_command_in_one_line(
    module: object,
    inner: str,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, inner, full)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    assert module.main([*words, "--root", str(tmp_path / "root")]) == USER_FAULT  # type: ignore[attr-defined]
    assert "root: no space left;" in capsys.readouterr().err
