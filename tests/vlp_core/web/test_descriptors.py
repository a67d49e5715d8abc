import subprocess
import sys

import pytest

TRIED = """
import resource, sys
from vlp_core.web.descriptors import connections_for
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 600))
print(connections_for(int(sys.argv[1])), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("wanted", [100, 10**9])
def test_as_many_connections_are_opened_as_the_process_may_have_descriptors(wanted: int) -> None:
    """Tried in a process of its own, with limits that every machine allows."""
    said = subprocess.run([sys.executable, "-c", TRIED, str(wanted)], capture_output=True, text=True, check=True)
    connections, soft, hard = map(int, said.stdout.split())
    assert 100 <= connections <= wanted
    assert 3 * connections < soft <= hard == 600
