"""The DeepSpeed configurations are DeepSpeed's: each trains, and none changes what a step computes."""

import json
import os
import socket
import subprocess
import sys

from tests.infra.places import INFRA, ROOT

FILES = sorted((INFRA / "deepspeed").glob("*.json"))
STAGES = {"zero0": 0, "zero1": 1, "zero2": 2, "zero3": 3, "offload": 3}


def test_they_hold_only_what_partitions_and_places() -> None:
    """Batch sizes, optimiser and precision are the settings': a file that held them would override a flag silently."""
    for path in FILES:
        assert set(json.loads(path.read_text())) <= {"zero_optimization", "zero_force_ds_cpu_optimizer"}, path.name


def test_deepspeed_takes_each_and_steps_as_a_plain_loop_does() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.infra.deepspeed_steps", *map(str, FILES)],
        cwd=ROOT,
        env={**os.environ, **rank, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULTS "))
    results = {path.stem: json.loads(line.removeprefix("RESULTS "))[str(path)] for path in FILES}
    assert {name: result["stage"] for name, result in results.items()} == STAGES
    assert all(result["difference"] < 1e-5 for result in results.values()), results
    offloaded = {name for name, result in results.items() if len(result["offloaded"]) == 2}
    assert offloaded == {"offload"}
