"""What holds for the repository as a whole: pins, sizes of files, who imports what, run bits, licence."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipelines", "jobs", "vlp_core")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DIRECT = [
    Requirement(line)
    for line in [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
]
# Where MLflow may be met outside pipelines/workflow: the job that registers, and the code that it saves with a model.
WITH_MLFLOW = {"register", "registry", "served_clip", "served_system"}
HEAVY = ("torch", "ray", "mlflow", "matplotlib", "img2dataset", "open_clip", "deepspeed")


def pins() -> dict[str, set[str]]:
    """Each name of constraints.txt with its versions (more than one where they differ by Python)."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)( ; .+)?", line)
        assert pin, f"constraints.txt holds more than a name and a version: {line}"
        versions.setdefault(canonicalize_name(pin[1]), set()).add(pin[2])
    return versions


def imported(path: Path) -> set[str]:
    """The top names of all that a file imports, wherever in the file it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_constraints_hold_names_and_versions_and_no_addresses() -> None:
    assert pins()
    assert not [path.name for pattern in ("uv.lock", "pylock*.toml") for path in ROOT.glob(pattern)], "holds addresses"


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_every_direct_dependency_is_pinned_to_what_it_asks_for(requirement: Requirement) -> None:
    versions = pins().get(canonicalize_name(requirement.name), set())
    assert versions, f"{requirement.name} is not in constraints.txt"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {path: lines for path, lines in lengths.items() if lines > 400}


def test_import_contracts_cover_every_package_and_job() -> None:
    linter = PROJECT["tool"]["importlinter"]
    assert set(linter["root_packages"]) == set(PACKAGES)
    contracts = linter["contracts"]
    assert any(c["type"] == "layers" and c["layers"] == list(PACKAGES) for c in contracts)
    library = next(c for c in contracts if c["type"] == "forbidden" and c["source_modules"] == ["vlp_core"])
    assert set(library["forbidden_modules"]) >= {"ray", "mlflow", "img2dataset"}
    # The list of jobs without MLflow is written out; a new job has to be put on it.
    without_mlflow = next(c for c in contracts if c["type"] == "forbidden" and c["forbidden_modules"] == ["mlflow"])
    jobs = {path.stem for path in (ROOT / "jobs").glob("*.py") if not path.stem.startswith("_")}
    assert {f"jobs.{name}" for name in jobs - WITH_MLFLOW} <= set(without_mlflow["source_modules"])


def test_mlflow_and_deepspeed_are_met_where_the_design_says() -> None:
    allowed = {ROOT / f"jobs/{name}.py" for name in WITH_MLFLOW} | set((ROOT / "pipelines/workflow").rglob("*.py"))
    assert not [str(path) for path in SOURCES if "mlflow" in imported(path) and path not in allowed]
    deepspeed = [path.relative_to(ROOT).as_posix() for path in SOURCES if "deepspeed" in imported(path)]
    assert len(deepspeed) <= 1 and all(path.startswith("vlp_core/train/") for path in deepspeed), deepspeed


def test_a_plan_is_quick_because_nothing_in_it_imports_anything_heavy() -> None:
    """A finished pipeline answers in seconds: stages, settings and pipelines bring no torch, Ray or MLflow along."""
    stages = [path for path in (ROOT / "jobs").glob("*.py") if re.search(r"^def run\(", path.read_text(), re.M)]
    settings = [path for path in SOURCES if path.name == "settings.py"]
    pipelines = list((ROOT / "pipelines").glob("[!_]*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in [*settings, *stages, *pipelines]]
    # One interpreter for all: the first line with more than a module's name is that of the guilty one.
    code = f"""if True:
        import importlib, sys
        for module in {modules!r}:
            importlib.import_module(module)
            print(module, *(name for name in {HEAVY!r} if name in sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    guilty = next((line for line in done.stdout.splitlines() if " " in line), None)
    assert guilty is None, f"imported at the top, module first: {guilty}"


def test_pipelines_can_be_run_as_programs() -> None:
    """`ray job submit pipelines/x.py` runs the file itself."""
    programs = [path for path in (ROOT / "pipelines").glob("[!_]*.py") if "__main__" in path.read_text()]
    assert ROOT / "pipelines/pretrain.py" in programs
    for path in programs:
        assert path.read_text().startswith("#!/usr/bin/env python\n"), f"{path.name} lacks its first line"
        assert os.access(path, os.X_OK), f"{path.name} lacks its run bit"


def test_continuous_integration_runs_what_the_readme_prints() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    commands = script.read_text().splitlines()
    assert "make lint" in commands and "make test" in commands
    assert "make test" in (ROOT / "README.md").read_text()


def test_the_licence_is_apache_2() -> None:
    text = " ".join((ROOT / "LICENSE").read_text().split())
    assert text.startswith("Apache License Version 2.0, January 2004") and "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
