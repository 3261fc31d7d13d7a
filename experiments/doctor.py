"""What `textgan doctor` shows."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from core.errors import TextganError
from core.tracking.mlflow_store import open_tracker
from experiments.deletion import unneeded
from experiments.single_run.environment import environment_tags

STORED = ("artifacts", "runs", "corpora", "journal")  # folders next to the store


def examine() -> dict[str, Any]:
    """Facts by name; `problem` is why the store does not open, or None."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {**environment_tags(device), "cores": os.cpu_count()}
    try:
        tracker = open_tracker()
        found |= {
            "store": tracker.uri,
            "store_dir": str(tracker.store_dir),
            "experiments": len(tracker.experiments()),
            "runs": len(tracker.runs()),
            "undelivered": len(tracker.undelivered()),
            "problem": None,
        }
        found |= {f"{part}_mb": _megabytes(tracker.store_dir / part) for part in STORED}
        freed = sum(each.size for each in unneeded(tracker.store_dir))
        found["gc_frees_mb"] = round(freed / 1e6, 1)
        found["free_gb"] = round(shutil.disk_usage(tracker.store_dir).free / 1e9, 1)
    except TextganError as error:
        found["problem"] = str(error)
    return found


def _megabytes(folder: Path) -> float:
    """Size of a folder; a file that is removed meanwhile counts nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - thousands
    return round(size / 1e6, 1)
