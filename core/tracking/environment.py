"""What a run was made with: commit, versions, device."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import entry_points, version
from pathlib import Path

import torch

from core.config import PLUGINS

PACKAGES = ("textgan-lab", "torch", "mlflow", "optuna", "numpy", "nltk")


def environment_tags(device: torch.device) -> dict[str, str]:
    """Tags: git commit (with `+dirty` where the tree differs), versions of packages and
    plug-ins, device.
    """
    plugins = sorted({point.dist.name for point in entry_points(group=PLUGINS) if point.dist})
    versions = " ".join(f"{name}={version(name)}" for name in (*PACKAGES, *plugins))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    tags = {
        "versions": f"python={platform.python_version()} {versions}",
        "device": f"{device.type} ({name})",
        "cpu": torch.backends.cpu.get_cpu_capability(),  # which kernels torch takes: sums differ
    }
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["git_commit"] = commit + ("+dirty" if difference() else "")
    return tags


def difference() -> str:
    """The difference of a dirty tree to its commit; empty when clean, or outside git."""
    return _git("diff", "HEAD") or ""


def _git(*words: str) -> str | None:
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
