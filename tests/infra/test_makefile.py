"""`make` sets up, recovers and refuses as the README says; nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.places import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what `make` reads, in whose path a space does no harm, and a finished (empty) environment."""
    folder = tmp_path / "a clone"
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "infra", folder / "infra")
    (folder / ".venv/.ready").write_text(f"{folder}\n")
    return folder


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "MLFLOW", "VLP"))}
    command = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=False)


def test_help_is_the_default_and_lists_every_target(clone: Path) -> None:
    shown = make(clone).stdout
    for target in ("pretrain", "test", "lint", "ui", "env"):
        assert f"make {target} " in shown


def test_a_finished_environment_is_left_alone(clone: Path) -> None:
    assert "setup.sh" not in make(clone, "--dry-run", "env").stdout


@pytest.mark.parametrize("change", ["no stamp", "newer pins", "moved folder"])
def test_an_environment_that_does_not_fit_is_made_again(clone: Path, change: str) -> None:
    stamp = clone / ".venv/.ready"
    if change == "no stamp":  # interrupted: the stamp is what comes last
        stamp.unlink()
    elif change == "newer pins":
        os.utime(clone / "constraints.txt", (stamp.stat().st_mtime + 10,) * 2)
    else:  # its scripts and its editable install point at the old place
        clone = clone.rename(clone.with_name("moved"))
    assert "setup.sh" in make(clone, "--dry-run", "test").stdout


def test_without_a_fitting_python_it_says_what_is_needed_in_one_line(clone: Path, tmp_path: Path) -> None:
    (clone / ".venv/.ready").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "make", "mkdir", "rm", "cat", "flock"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    done = make(clone, "env", PATH=str(tools))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode and len(errors) == 1 and "Python 3.11 or 3.12" in errors[0]
    assert not (clone / ".venv/.ready").exists()


def test_arguments_and_root_reach_the_main_job(clone: Path) -> None:
    line = make(clone, "--dry-run", "pretrain", "ARGS=--train.steps 500", VLP_ROOT="/data/runs").stdout
    assert '--root "/data/runs" --train.steps 500' in line


def test_ui_says_when_there_is_nothing_to_show(clone: Path) -> None:
    done = make(clone, "ui")
    assert done.returncode and f"nothing has been run in {clone}/runs yet" in done.stderr


def test_ui_points_at_a_servers_own(clone: Path) -> None:
    done = make(clone, "ui", MLFLOW_TRACKING_URI="http://127.0.0.1:5000")
    assert done.returncode == 0 and "http://127.0.0.1:5000" in done.stdout
