"""The command that opens the MLflow UI on a store: one worker, no job runner, loopback only.

A page elsewhere can make a browser ask a server on this machine under a foreign name (DNS
rebinding), so requests for other hosts than those told are refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError

LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


LOOPBACK = ("127.0.0.1", "localhost")


def ui_command(
    uri: str, store_dir: Path, port: int, host: str = LOOPBACK[0], names: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """The command and its environment; InputError for a store that has its own server.

    `names` are hosts that requests may be for, besides `host` and loopback.
    """
    if uri.startswith("http"):
        raise InputError(f"the store is a server already; open {uri} in a browser")
    allowed = ",".join(f"{name}:{port}" for name in dict.fromkeys((*LOOPBACK, host, *names)))
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
               "--artifacts-destination", str(store_dir / "artifacts"), "--host", host,
               "--port", str(port), "--workers", "1", "--allowed-hosts", allowed]  # fmt: skip
    return command, {**os.environ, **LIGHT}
