"""One Ray cluster for all processes of a test session: `python -m tests.cluster PID FILE` runs it for as long as PID
lives, with its address in FILE."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.waiting import until
from vlp_core.files import locked, write_text

TRIES = 3
CPUS = 6  # more than there may be: a test that waits must not keep another from starting


def shared(folder: Path, owner: int) -> str:
    """The address of the cluster that lives as long as process `owner`; whoever asks first starts it."""
    address = folder / "ray-address"
    with locked(folder / "ray-address.lock"):
        if not address.exists():
            process = subprocess.Popen([sys.executable, "-m", "tests.cluster", str(owner), str(address)])
            until(address.exists, process, every_s=0.1)
    return address.read_text()


def main(owner: int, address: Path) -> None:
    import ray

    write_text(address, _started())
    while _lives(owner):
        time.sleep(0.5)
    ray.shutdown()


def _started() -> str:
    """The address of a new cluster. Ray gives its node 30 seconds, which may be too few where much else is at work."""
    import ray

    size = 512 * 2**20
    for left in reversed(range(TRIES)):
        try:
            context = ray.init(
                address="local", num_cpus=CPUS, include_dashboard=False, logging_level="ERROR", object_store_memory=size
            )
            return str(context.address_info["gcs_address"])
        except Exception as error:
            if not left:
                raise
            print(f"the tests' Ray cluster did not start ({error}); once more", file=sys.stderr)
            ray.shutdown()
    raise AssertionError


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
        return True
    except ProcessLookupError:
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
