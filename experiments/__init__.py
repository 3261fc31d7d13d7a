"""Experiment files (TOML), and the composition root that turns one into a run."""

from __future__ import annotations

from experiments.loading import load
from experiments.run import Result, run

__all__ = ["Result", "load", "run"]
