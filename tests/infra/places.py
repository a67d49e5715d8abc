"""Where the files under test are, and what the project pins."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"


def pinned(name: str) -> str:
    """The version of `name` in constraints.txt."""
    found = re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)
    assert found, f"constraints.txt does not pin {name}"
    return found[1]
