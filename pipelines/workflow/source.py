"""The source that a stage runs: its own file and the project's modules that it imports, however deep."""

import ast
from functools import cache
from pathlib import Path

from vlp_core.identity import sha256_of_file


@cache
def sources_of(file: Path) -> dict[str, str]:
    """sha256 by path of `file` and of the modules beside its package that it stands on; nothing is imported."""
    root = _root_of(file)
    found: dict[str, str] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix()
        if name not in found:
            found[name] = sha256_of_file(path)
            waiting += _imported(path, root)
    return found


def _root_of(file: Path) -> Path:
    """The folder that holds the file's outermost package."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


@cache
def _imported(file: Path, root: Path) -> list[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    places = [root.joinpath(*name.split(".")) for name in sorted(names)]
    return [path for place in places for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
