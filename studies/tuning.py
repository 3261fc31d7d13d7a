"""What the kinds that search share: trials, who comes first, and how finalists are run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from core.metrics.catalogue import metric_info, ranking_metric
from studies.arms import Arm, Pruner, Sampler
from studies.plan import Done, Job, Limit, Variant
from studies.table import StudyTable

SEED = 1000  # of every trial; finalists get others


class TuningTable(StudyTable):
    """Keys of the kinds that search for settings."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = 40  # of each system
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    space: dict[str, Any] = Field(default={})  # field -> true, [low, high], {choices = [...]}
    objectives: list[str] = Field(default=[])  # several: what the Pareto front is of
    finalists: Annotated[int, Field(ge=1, le=100)] = 1  # of each system, run again
    tuning_seed: Annotated[int, Field(ge=0)] = SEED
    warm_start: str | None = None  # an earlier study, whose trials count as known

    @field_validator("objectives")
    @classmethod
    def _objectives_are_known(cls, objectives: list[str]) -> list[str]:
        return [ranking_metric(each) for each in objectives]

    @model_validator(mode="after")
    def _parts_go_together(self) -> TuningTable:
        if self.tuning_seed in self.seed_list():
            raise ValueError(f"tuning_seed {self.tuning_seed} is one of study.seeds; finalists "
                             "are run with fresh ones")  # fmt: skip
        if self.objectives and self.metric not in self.objectives:
            raise ValueError(f"metric {self.metric!r} must be one of the objectives: it ranks")
        if len(self.metrics) > 1 and self.pruner != "none":
            raise ValueError("pruner has a meaning with one objective only")
        if len(self.metrics) > 1 and self.sampler == "cma_es":
            raise ValueError("sampler 'cma_es' takes one objective; take 'nsga2', 'tpe' or 'gp'")
        return self

    @property
    def ranked_by(self) -> str:
        """Finalists are ranked on the test split, which nothing was chosen by."""
        return f"test/{self.metric.partition('/')[2]}"

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is searched for, the one that ranks first."""
        return (self.metric, *(each for each in self.objectives if each != self.metric))

    @property
    def directions(self) -> tuple[bool, ...]:
        """Whether higher is better, of each of `metrics`."""
        return tuple(metric_info(metric).direction == "higher" for metric in self.metrics)


def trial_name(arm: Arm, place: int, *, alone: bool) -> str:
    """What a trial's run is called."""
    return f"trial {place:03d}" if alone else f"{arm.name} · trial {place:03d}"


def trial_jobs(
    arm: Arm, base: Variant, table: TuningTable, limit: Limit, done: Sequence[Done], *, alone: bool
) -> list[Job]:
    """The trials of an arm; those that have ended where the time for searching is over."""
    count = limit.trials or table.trials
    jobs = [
        Job(Variant(trial_name(arm, place, alone=alone), {}, base.config, whole=True),
            table.tuning_seed, arm, place)
        for place in range(count)
    ]  # fmt: skip
    if limit.closed:
        ended = {each.key for each in done}
        jobs = [job for job in jobs if job.key in ended]
    return jobs


def results_of(jobs: Sequence[Job], done: Sequence[Done]) -> list[Done] | None:
    """What came of these jobs, in their order; None while some go on."""
    ended = {each.key: each for each in done}
    found = [ended.get(job.key) for job in jobs]
    return [each for each in found if each is not None] if None not in found else None


def finalists(results: Sequence[Done], table: TuningTable) -> list[Done]:
    """The best proposals that are not the published ones, best first.

    With several objectives those of the Pareto front, in the order of the first objective, spread
    evenly over it where there are more than `study.finalists`.
    """
    candidates = [
        each
        for each in results
        if each.outcome == "ok"
        and not each.published
        and all(each.scores.get(metric) is not None for metric in table.metrics)
    ]
    signs = [1.0 if up else -1.0 for up in table.directions]

    def value(each: Done) -> tuple[float, ...]:
        scores = (each.scores[metric] or 0.0 for metric in table.metrics)
        return tuple(sign * score for sign, score in zip(signs, scores, strict=True))

    ranked = sorted(candidates, key=value, reverse=True)
    if len(table.metrics) == 1:
        return ranked[: table.finalists]
    front = [a for a in ranked if not any(_dominates(value(b), value(a)) for b in ranked)]
    if len(front) <= table.finalists:
        return front
    step = (len(front) - 1) / max(1, table.finalists - 1)
    return [front[round(i * step)] for i in range(table.finalists)]


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def shown(settings: dict[str, Any]) -> dict[str, str]:
    """Settings as a row of the leaderboard shows them."""
    return {
        key: f"{value:.4g}" if isinstance(value, float) else _name(value)
        for key, value in settings.items()
    }


def _name(value: Any) -> str:
    return str(value.get("name")) if isinstance(value, dict) else str(value)
