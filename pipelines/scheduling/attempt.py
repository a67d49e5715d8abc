"""One attempt at a pipeline: a process of its own that ends with its scheduler, and what it said last."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.scheduling import bound
from pipelines.workflow.lock import Lock
from vlp_core.errors import UserError, public_text

PROJECT = Path(__file__).parents[2]
ENDS_WITHIN_S = 30.0
_TAIL_BYTES = 8192


def command_of(words: Sequence[str]) -> tuple[str, ...]:
    """The command line of a pipeline, from the words after `--`. UserError where they name none."""
    if not words:
        raise UserError(
            "nothing to run: give the pipeline and its flags after --, as in -- pipelines/refresh_data.py …"
        )
    file = Path(words[0])
    places = [file.parent] if file.is_absolute() else list(dict.fromkeys((Path.cwd(), PROJECT)))
    found = [path for place in places if (path := place / file).suffix == ".py" and path.is_file()]
    if not found:
        looked = " or ".join(map(str, places))
        raise UserError(
            f"-- {words[0]}: no such pipeline in {looked}; give its Python file, such as pipelines/refresh_data.py"
        )
    return (str(found[0]), *words[1:])


class Attempt:
    """A pipeline at work. It holds the schedule's lane with us: that is free when both are gone."""

    def __init__(self, command: Sequence[str], log: Path, lane: Lock, environment: Mapping[str, str]) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, bound.__file__, str(os.getpid()), sys.executable, *command]
        with log.open("ab") as output:
            self._from = output.tell()
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lane.fileno(),),
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            )

    def poll(self) -> int | None:
        """Its exit code, None while it works."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end, and wait for that; the same command goes on from there."""
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_line(self) -> str:
        """The last line that it printed: a pipeline says its error there."""
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._from, end - _TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        return public_text(next((line for line in reversed(lines) if line), ""))[:500]
