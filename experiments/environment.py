"""The software and the machine of a run: commit, versions, device, and how much of it is used."""

from __future__ import annotations

import platform
import subprocess
import time
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path

import psutil
import torch

from core.config.slots import PLUGINS

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_SECONDS = 10.0
PACKAGES = ("textgan-lab", "torch", "mlflow", "optuna", "numpy", "nltk")


def environment_tags(device: torch.device) -> dict[str, str]:
    """Tags: git commit (with `+dirty` if the tree differs), versions of packages and plug-ins,
    device.
    """
    plugins = sorted({point.dist.name for point in entry_points(group=PLUGINS) if point.dist})
    versions = " ".join(f"{name}={version(name)}" for name in (*PACKAGES, *plugins))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    tags = {
        "versions": f"python={platform.python_version()} {versions}",
        "device": f"{device.type} ({name})",
        "cpu": torch.backends.cpu.get_cpu_capability(),  # decides torch's kernels: sums differ
    }
    if commit := _git("rev-parse", "HEAD"):
        tags["git_commit"] = commit + ("+dirty" if uncommitted_changes() else "")
    return tags


class Usage:
    """How much of its machine a run uses, under the names of MLflow's system metrics. Sampled where
    the run logs anyway, by no thread of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._due = device, time.monotonic() + SAMPLE_SECONDS
        psutil.cpu_percent()  # the next value is that of the time since this one

    def sample(self, *, last: bool = False) -> dict[str, float | None]:
        """Values of this moment; none within 10 s of the values before, unless they are the last of
        the run, or if the machine does not give them.
        """
        if time.monotonic() < self._due and not last:
            return {}
        self._due = time.monotonic() + SAMPLE_SECONDS
        try:
            memory, process = psutil.virtual_memory(), psutil.Process().memory_info()
            found = {
                "cpu_utilization_percentage": psutil.cpu_percent(),
                "system_memory_usage_percentage": memory.percent,
                "system_memory_usage_megabytes": memory.used / 1e6,
                "process_memory_usage_megabytes": process.rss / 1e6,
            }
            if self._device.type == "cuda":
                free, total = torch.cuda.mem_get_info(self._device)
                found["gpu_0_memory_usage_percentage"] = 100 * (1 - free / total)
                found["gpu_0_memory_usage_megabytes"] = (total - free) / 1e6
        except (psutil.Error, OSError, RuntimeError):
            return {}
        return {f"system/{key}": value for key, value in found.items()}


@cache  # later changes are not what this process runs
def uncommitted_changes() -> str:
    """The diff of the working tree to its commit; empty if it is clean, or outside git."""
    return _git("diff", "HEAD") or ""


def _git(*arguments: str) -> str | None:
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
