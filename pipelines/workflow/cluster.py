"""Which Ray cluster a run is on: the one that RAY_ADDRESS names, or a private one of its own."""

import os
import socket
from pathlib import Path
from typing import Any

from vlp_core.errors import UserError, first_line

PRIVATE_OBJECT_STORE_BYTES = 512 * 2**20  # steps exchange folders, not objects


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start a private one that ends with this process."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import ray

    if ray.is_initialized():  # pipelines that one process runs after one another share its cluster
        return
    logs = os.environ.get("VLP_RAY_LOGS") == "1"
    common: dict[str, Any] = {"log_to_driver": logs, "logging_level": "INFO" if logs else "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            _knock(address)
            ray.init(address=address, **common)
        except Exception as error:
            raise UserError(
                f"RAY_ADDRESS {address}: no Ray cluster lets us in there ({first_line(error)}); start one with "
                "`ray start --head`, or unset RAY_ADDRESS for a private one"
            ) from error
    else:
        try:
            ray.init(address="local", include_dashboard=False, object_store_memory=PRIVATE_OBJECT_STORE_BYTES, **common)
        except Exception as error:  # whichever of its processes did not come up in time
            raise UserError(
                f"Ray does not start on this machine ({first_line(error).rstrip('.')}); why is in {_logs()}; "
                "try again when it is less busy, or name a running cluster with RAY_ADDRESS"
            ) from error


def _logs() -> Path:
    """Where Ray writes what its own processes say, by its rules for a folder of temporary files."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return Path(folder, "ray", "session_latest", "logs")


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
