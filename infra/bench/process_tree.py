"""What a command and all processes that come of it use: CPU time, memory. Linux alone."""

import ctypes
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY_S, _MEMORY_EVERY_S = 0.2, 1.0
_SET_CHILD_SUBREAPER = 36


@dataclass
class Usage:
    """Seconds by the clock, seconds of CPU and the most bytes (proportional set size) of a whole tree."""

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    processes: dict[tuple[int, int], float] = field(default_factory=dict, repr=False)

    def sample(self, root: int, *, memory: bool) -> None:
        pids = _look(root, self.processes)
        self.cpu = sum(self.processes.values())
        if memory:
            self.memory = max(self.memory, sum(map(_proportional, pids)))


def run(command: list[str], environment: dict[str, str], log: Path) -> Usage:
    """Run a command to its end and measure it and whatever it leaves running, which is waited for.

    Raises RuntimeError, with the end of its log, where it fails.
    """
    # Children whose parent has gone become ours, and stay in sight until they are reaped.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others, usage, started = _children(os.getpid()), Usage(), time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    due = 0.0
    while process.poll() is None:
        now = time.monotonic()
        usage.sample(process.pid, memory=now >= due)
        due = now + _MEMORY_EVERY_S if now >= due else due
        time.sleep(_EVERY_S)
    usage.seconds = time.monotonic() - started
    _reap(others, usage)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{log.read_text(errors='replace')[-3000:]}")
    return usage


def _reap(others: set[int], usage: Usage) -> None:
    give_up = time.monotonic() + 30
    while (left := _children(os.getpid()) - others) and time.monotonic() < give_up:
        for pid in left:
            usage.sample(pid, memory=False)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)


def _stat(pid: int) -> tuple[int, int, float] | None:
    """Parent, start, seconds of CPU of a process; None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[19]), (int(fields[11]) + int(fields[12])) / _TICKS


def _all() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _look(root: int, seen: dict[tuple[int, int], float]) -> list[int]:
    """The processes of a tree; notes the CPU time of each, which stays noted when it has gone."""
    stats = {pid: stat for pid in _all() if (stat := _stat(pid))}
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    for pid in tree:
        if pid in stats:
            seen[pid, stats[pid][1]] = stats[pid][2]
    return tree


def _children(pid: int) -> set[int]:
    return {other for other in _all() if (_stat(other) or (0,))[0] == pid}


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
