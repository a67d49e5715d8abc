"""How much code each system brought: the lines of the recipe, and of the parts that none before it needed."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def added_lines(names: Iterable[str]) -> dict[str, int]:
    """Lines of vlp_core that a recipe needs and that no recipe before it in `names` did; none for a name without a
    file, which is a setting of another."""
    known: set[Path] = set()
    added = {}
    for name in names:
        file = PACKAGE / "recipes" / f"{name}.py"
        needed = _needed(file) if file.is_file() else set()
        added[name] = sum(len(file.read_text().splitlines()) for file in needed - known)
        known |= needed
    return added


def _needed(file: Path) -> set[Path]:
    """The file, and all of the package that it imports, directly or not."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return found


@cache
def _imported(file: Path) -> list[Path]:
    modules = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    places = [PACKAGE.parent / Path(*module.split(".")) for module in modules]
    files = [place.with_suffix(".py") for place in places] + [place / "__init__.py" for place in places]
    return [file for file in files if file.is_file()]
