"""More threads than cores are said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.plural import count
from experiments.study_session import overcommitted
from studies.definition import load_study
from variants import registry

SMOKE = Path(__file__).parents[2] / "experiments" / "smoke" / "design_axes.toml"


@pytest.mark.parametrize(("threads", "workers", "cores", "said"), [
    (1, 8, 2, False),  # the operating system's own business
    (2, 1, 2, False),
    (2, 2, 2, True),
    (4, 1, 2, True),
])  # fmt: skip
def test_threads_that_wait_for_each_other_are_mentioned(
    threads: int, workers: int, cores: int, said: bool
) -> None:
    study = load_study(SMOKE, [f"train.threads={threads}"], registry())
    words = overcommitted(study, workers, cores)
    assert (words is not None) == said
    if words:
        assert words.startswith(
            f"train.threads = {threads} with {count(workers, 'worker')}: "
            f"more threads than cores ({cores})"
        )
