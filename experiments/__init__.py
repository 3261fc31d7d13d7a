"""Experiment files (TOML), and the composition root that turns one into a run.

`from experiments import load, load_study, run` works in a notebook. The names are looked up when
they are first used: the command line's help must not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.loading import load
    from experiments.single_run.run import run
    from experiments.single_run.session import Result
    from experiments.stored_study import StoredStudy, load_study

__all__ = ["Result", "StoredStudy", "load", "load_study", "run"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {
        "load": "loading", "run": "single_run.run", "Result": "single_run.session",
        "load_study": "stored_study", "StoredStudy": "stored_study",
    }  # fmt: skip
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"experiments.{homes[name]}"), name)
    globals()[name] = found
    return found
