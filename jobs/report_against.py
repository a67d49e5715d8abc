"""Another data set that a report tells the drift from: a folder of images, or the newest selection under the root of an
earlier release."""

import json
from pathlib import Path

from jobs.report_sources import Source
from vlp_core.data.layout import shard_names
from vlp_core.errors import UserError
from vlp_core.identity import digest_of


def source_at(path: Path) -> Source:
    """Where the data set of a path lies; UserError where it is none."""
    if not path.is_dir():
        raise UserError(f"--report.against {path}: no such folder; give a folder of images, or a root")
    if shard_names(path):
        return Source(images=path)
    made = sorted(path.glob("select*/*/_RECORD.json"), key=lambda record: (record.stat().st_mtime_ns, record))
    if not made:
        raise UserError(
            f"--report.against {path}: neither shards of pictures nor a finished select step in this folder"
        )
    selection = made[-1].parent
    verdicts = _input(path, selection, "filter")
    images = _input(path, verdicts, "download", "adopt")
    copies = _input(path, selection, "dedup")
    columns = tuple(folder for folder in _inputs(path, verdicts) if folder != images and folder.is_dir())
    return Source(images=images, columns=columns, verdicts=verdicts, copies=copies, selection=selection)


def _inputs(root: Path, folder: Path) -> list[Path]:
    """The folders of the steps that a result was made from."""
    try:
        return [root / place for place in json.loads((folder / "_RUN.json").read_text())["inputs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--report.against {root}: {folder} does not say what it was made from; make it anew"
        ) from error


def _input(root: Path, folder: Path, *steps: str) -> Path:
    for found in _inputs(root, folder):
        if found.parent.name.startswith(steps) and found.is_dir():
            return found
    raise UserError(f"--report.against {root}: what {folder} was made from is gone ({' or '.join(steps)})")


def seal_of(path: Path) -> str:
    """What tells that the data set at a path is another than it was, without reading its pictures."""
    source = source_at(path)
    folders = [folder for folder in (source.images, source.selection) if folder is not None]
    files = [file for folder in folders for file in sorted(folder.glob("*.parquet"))]
    return digest_of([[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files])
