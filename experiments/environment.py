"""The software and the machine of a run: commit, versions, device."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path

import torch

from core.config.slots import PLUGINS

ROOT = Path(__file__).resolve().parents[1]
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
