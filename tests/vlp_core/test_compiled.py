"""Functions that numba compiles, in processes that need them at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import until

PROJECT = Path(__file__).parents[2]
FUNCTIONS = """
from vlp_core.compiled import njit

@njit(nogil=True)
def squares(number):
    return sum([each * each for each in range(number)])

@njit(nogil=True)
def factorial(number):
    return 1 if number < 2 else number * factorial(number - 1)

@njit(nogil=True)
def both(number):
    return squares(number) + factorial(number)
"""
PROGRAM = """
import sys, time
from pathlib import Path
import functions
folder, name = Path(sys.argv[1]), sys.argv[2]
(folder / f"{name}.ready").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
result = functions.both(5)
compiled = (functions.both, functions.squares, functions.factorial)
misses = sum(sum(function.stats.cache_misses.values()) for function in compiled)
print(result, misses)
"""


@pytest.mark.parametrize("processes", [3])
def test_of_processes_that_begin_together_one_compiles_and_the_others_wait_for_it(
    processes: int, tmp_path: Path
) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    environment = {"PYTHONPATH": f"{tmp_path}:{PROJECT}", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(processes)
    ]
    for number, process in enumerate(started):
        until((tmp_path / f"{number}.ready").exists, process)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=120)[0].split() for process in started]
    assert [result for result, _ in said] == ["150"] * processes
    assert sorted(int(misses) for _, misses in said) == [0] * (processes - 1) + [3]
