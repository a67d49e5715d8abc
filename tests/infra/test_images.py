"""The Dockerfiles: sound by hadolint, and in step with what they copy and what the project pins."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.infra.places import INFRA, ROOT, pinned

DOCKERFILES = sorted(INFRA.rglob("Dockerfile"))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, argument) in order, comments gone and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.M).replace("\\\n", " ")
    return [
        (word.upper(), " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def copied(dockerfile: Path) -> list[str]:
    """The sources of each COPY, relative to the repository's root."""
    return [source for word, rest in instructions(dockerfile) if word == "COPY" for source in rest.split()[:-1]]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.parent.name)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_source_exists_and_passes_the_ignore_file(dockerfile: Path) -> None:
    allowed = [line[1:] for line in Path(f"{dockerfile}.dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [source.removeprefix("./") for source in copied(dockerfile)]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), f"{dockerfile} copies {source}, which is not there"
        assert any(fnmatch(source, pattern) for pattern in allowed), f"{source} never reaches the builder"


def test_the_image_holds_every_package_of_the_project() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= {source.removeprefix("./") for source in copied(INFRA / "docker/Dockerfile")}


def test_runs_as_an_ordinary_user(dockerfile: Path) -> None:
    users = [rest for word, rest in instructions(dockerfile) if word == "USER"]
    assert users and users[-1] not in {"root", "0"}


def test_the_server_has_the_version_that_the_project_pins() -> None:
    assert f"mlflow=={pinned('mlflow')}" in (INFRA / "mlflow/Dockerfile").read_text()
