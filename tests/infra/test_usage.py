"""Whoever opens a file under infra/ is told how to use it, by commands that name what exists."""

import re
from pathlib import Path

import pytest

from tests.infra.places import INFRA, ROOT

COMMENTED = sorted(
    path for path in INFRA.rglob("*") if path.name.startswith("Dockerfile") or path.suffix in {".yaml", ".sh"}
)


@pytest.mark.parametrize("path", COMMENTED, ids=lambda path: str(path.relative_to(INFRA)))
def test_begins_with_three_lines_on_its_use(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#!")][:3]
    assert all(re.match(r"# \S", line) for line in lines), lines


def test_every_deepspeed_file_is_explained_in_three_lines() -> None:
    text = (INFRA / "deepspeed/README.md").read_text()
    for path in (INFRA / "deepspeed").glob("*.json"):
        paragraph = next((p for p in text.split("\n\n") if p.startswith(f"**{path.name}**")), "")
        assert len(paragraph.splitlines()) == 3, f"{path.name} lacks its three lines"


@pytest.mark.parametrize("path", [*COMMENTED, INFRA / "deepspeed/README.md"], ids=lambda p: str(p.relative_to(INFRA)))
def test_names_only_files_of_the_repository_that_exist(path: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])(?:pipelines|infra|jobs)/[\w./-]+\.(?:py|yaml|json|sh)\b", path.read_text()))
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]
