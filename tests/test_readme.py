"""What the README prints is there: the flags of its commands are those that the pipelines take."""

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections import defaultdict

import pytest

from tests.test_project import ROOT

README = (ROOT / "README.md").read_text()
_FLAG = re.compile(r"--[a-z][\w.-]*")


def _commands() -> dict[tuple[str, ...], set[str]]:
    """The flags by command: a file below pipelines/, and the name of a system where it takes one. Where one command
    starts another, as a schedule does, each has its own."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for line in README.replace("\\\n", " ").splitlines():
        if re.match(r" {4}\S*(pipelines/\w+\.py)", line):
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
            lexer.whitespace_split, lexer.commenters = True, "#"
            command: tuple[str, ...] = ()
            words = list(lexer)
            for word, following in zip(words, [*words[1:], ""], strict=True):
                if word.endswith(".py"):
                    command = (word, following) if word.endswith("/pretrain.py") and following.isalnum() else (word,)
                    found[command] |= set()
                elif command and (flag := _FLAG.match(word)):
                    found[command].add(flag[0])
    return found


COMMANDS = _commands()
_PASSED_ON = {("pipelines/systems.py",): ("pipelines/pretrain.py", "clip")}  # what it does not know itself


def test_there_are_commands_of_every_pipeline() -> None:
    """Else what is below looks at nothing."""
    runnable = {path.name for path in (ROOT / "pipelines").glob("*.py") if "__main__" in path.read_text()}
    assert {command[0].removeprefix("pipelines/") for command in COMMANDS} == runnable
    assert sum(len(flags) for flags in COMMANDS.values()) > 50


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_has_flags_that_there_are(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    for asked in (command, *([_PASSED_ON[command]] if command in _PASSED_ON else [])):
        monkeypatch.setattr(sys, "argv", [*asked, "--help"])
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            runpy.run_path(str(ROOT / asked[0]), run_name="__main__")
    assert COMMANDS[command] <= set(_FLAG.findall(said.getvalue()))
