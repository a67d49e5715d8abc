import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_codecs_print_goes_nowhere_and_what_python_prints_shows() -> None:
    program = """
import os, sys
from jobs.quiet_codecs import quiet_codecs
with quiet_codecs():
    os.write(2, b"codec\\n")
    print("python", file=sys.stderr)
os.write(2, b"after\\n")
print("last", file=sys.stderr)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stderr.split() == ["python", "after", "last"]
