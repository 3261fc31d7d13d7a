"""What the kinds that search have in common: their table, trials, and which settings run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from core.metrics.catalogue import metric_info, ranking_metric
from studies.kinds import Done, Job, Limit, Variant
from studies.space import Arm, Pruner, Sampler, Settings, Space
from studies.table import Definition, StudyTable

SEED = 1000  # of every trial; finalists get others


class TuningTable(StudyTable):
    """Keys of the kinds that search for settings. Finalists are ranked on the test split, which no
    choice was based on.
    """

    tested = adapts = True
    trials: Annotated[int, Field(ge=1, le=100_000)] = 40  # of each system
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    space: dict[str, Any] = Field(default={})  # field -> true, [low, high], {choices = [...]}
    objectives: list[Annotated[str, AfterValidator(ranking_metric)]] = Field(
        default=[]
    )  # several: those of the Pareto front
    finalists: Annotated[int, Field(ge=1, le=100)] = 1  # of each system, run again
    tuning_seed: Annotated[int, Field(ge=0)] = SEED
    warm_start: str | None = None  # an earlier study, whose trials are added to the search

    @model_validator(mode="after")
    def _parts_go_together(self) -> TuningTable:
        if self.tuning_seed in self.seed_list():
            raise ValueError(f"tuning_seed {self.tuning_seed} is one of study.seeds; finalists "
                             "need seeds that were not used for tuning")  # fmt: skip
        if self.objectives and self.metric not in self.objectives:
            raise ValueError(f"metric {self.metric!r} must be one of the objectives: it ranks")
        if len(self.metrics) > 1 and self.pruner != "none":
            raise ValueError("pruner needs a single objective")
        if len(self.metrics) > 1 and self.sampler == "cma_es":
            raise ValueError("sampler 'cma_es' needs a single objective; use 'nsga2', 'tpe', 'gp'")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """All objectives, the one that ranks first."""
        return (self.metric, *(each for each in self.objectives if each != self.metric))

    @property
    def directions(self) -> tuple[bool, ...]:
        """Whether higher is better, for each of `metrics`."""
        return tuple(metric_info(metric).direction == "higher" for metric in self.metrics)

    def arm(
        self, name: str, definition: Definition, space: Space, published: Sequence[Settings]
    ) -> Arm:
        """The search of this table over the settings of one system."""
        return Arm(name, definition, space, self.metrics, self.directions, self.trials,
                   self.sampler, self.pruner, tuple(published), self.warm_start)  # fmt: skip


def trials_of(
    arm: Arm, base: Variant, table: TuningTable, limit: Limit, done: Sequence[Done], prefix: str
) -> tuple[list[Job], list[Done] | None]:
    """The trials of an arm, and their results in the same order, None while some have not ended.

    If the time for searching is over, only the trials that have ended.
    """
    ended = {each.key: each for each in done}
    jobs = [
        Job(Variant(f"{prefix}{trial_name(place)}", {}, base.config, whole=True),
            table.tuning_seed, arm, place, level="trial")
        for place in range(limit.trials or table.trials)
    ]  # fmt: skip
    if limit.closed:
        jobs = [job for job in jobs if job.key in ended]
    results = [ended[job.key] for job in jobs if job.key in ended]
    return jobs, results if len(results) == len(jobs) else None


def trial_name(place: int) -> str:
    """The name of a trial, and of the row that it becomes as a finalist."""
    return f"trial {place:03d}"


def finalists(results: Sequence[Done], table: TuningTable) -> list[Done]:
    """The best proposals other than the published ones, best first.

    With several objectives those of the Pareto front, in the order of the first objective; if there
    are more than `study.finalists`, a selection that is spread evenly over the front.
    """
    signs = [1.0 if up else -1.0 for up in table.directions]

    def value(each: Done) -> tuple[float, ...]:
        scores = (each.scores[metric] or 0.0 for metric in table.metrics)
        return tuple(sign * score for sign, score in zip(signs, scores, strict=True))

    complete = [
        each for each in results
        if each.outcome == "ok" and not each.published
        and all(each.scores.get(metric) is not None for metric in table.metrics)
    ]  # fmt: skip
    ranked = sorted(complete, key=value, reverse=True)
    if len(table.metrics) == 1:
        return ranked[: table.finalists]
    front = [a for a in ranked if not any(dominates(value(b), value(a)) for b in ranked)]
    if len(front) <= table.finalists:
        return front
    step = (len(front) - 1) / max(1, table.finalists - 1)
    return [front[round(i * step)] for i in range(table.finalists)]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is at least as high as `b` everywhere, and higher somewhere."""
    pairs = list(zip(a, b, strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def final_row(name: str, best: Done, arm: Arm) -> Variant:
    """A proposal as a row of the leaderboard."""
    return Variant(name, shown(best.settings), arm.config(best.settings), whole=True)


def shown(settings: Settings) -> dict[str, str]:
    """Settings as a row of the leaderboard shows them."""
    return {key: _shown(value) for key, value in settings.items()}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value.get("name") if isinstance(value, dict) else value)
