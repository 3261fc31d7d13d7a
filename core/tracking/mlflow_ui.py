"""The command that opens the MLflow UI on a store: loopback only, one worker, no job runner."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from core.errors import InputError

LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def ui_command(uri: str, world: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """The command and its environment; InputError for a store that has its own server."""
    if uri.startswith("http"):
        raise InputError(f"the store is a server already; open {uri} in a browser")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
               "--artifacts-destination", str(world / "artifacts"), "--host", "127.0.0.1",
               "--port", str(port), "--workers", "1"]  # fmt: skip
    return command, {**os.environ, **LIGHT}
