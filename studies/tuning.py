"""What the kinds that search have in common: their table, trials, and which settings run again.

With `study.tuning_seeds` trials *race*: each runs with the first tuning seed, and with a further
one while it is among the best third so far. docs/decisions/0034-racing.md has the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from core.config.schema import Rule
from core.metrics.catalogue import checkpoint_key, metric_info, ranking_metric
from core.plural import count
from studies.constraints import Constraint
from studies.plan import Done, Job, Key, Limit, Plan, Variant
from studies.space import Arm, Pruner, Sampler, Settings, Space
from studies.table import Budget, Definition, StudyTable

SEED = 1000  # the first of every trial; finalists get others
MOST_SEEDS = 20
FRACTION = 3  # a trial goes on while it is among the best 1/FRACTION so far
CONSTRAINED = ("tpe", "gp", "nsga2")  # the samplers that use constraints
Standing = tuple[float, ...]  # of a trial after some of its seeds; the higher, the better


class TuningTable(StudyTable):
    """Keys of the kinds that search for settings. Finalists are ranked on the test split, which no
    choice was based on.
    """

    tested = adapts = True
    trials: Annotated[int, Field(ge=1, le=100_000)] = 40  # of each system
    trial_budget: Budget | None = None  # of each trial; None: budget, as the finalists have
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    space: dict[str, Any] = Field(default={})  # field -> true, [low, high], {choices = [...]}
    objectives: list[Annotated[str, AfterValidator(ranking_metric)]] = Field(
        default=[]
    )  # several: those of the Pareto front
    # What a trial must keep, as the mean over its tuning seeds.
    constraints: list[Annotated[Constraint, BeforeValidator(Constraint.parse)]] = Field(default=[])
    finalists: Annotated[int, Field(ge=1, le=100)] = 1  # of each system, run again
    tuning_seed: Annotated[int, Field(ge=0)] = SEED
    # Of a trial at most: tuning_seed, and those after it while it is among the best third.
    tuning_seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 1
    warm_start: str | None = None  # an earlier study, whose trials are added to the search

    @field_validator("constraints")
    @classmethod
    def _constraints_differ(cls, given: list[Constraint]) -> list[Constraint]:
        for each in given:
            if given.count(each) > 1:
                raise ValueError(f"'{each}' is listed twice")
        return given

    @model_validator(mode="after")
    def _parts_go_together(self) -> TuningTable:
        if self.trial_budget and self.budget_ratio is None:
            need = f"counts {self.budget.given[0]}" if self.budget else "is missing"
            raise ValueError(f"trial_budget must count what budget counts, which {need}")
        for seed in {*self.tuning_seed_list()} & {*self.seed_list()}:
            raise ValueError(f"tuning_seed {seed} is one of study.seeds; finalists "
                             "need seeds that were not used for tuning")  # fmt: skip
        if self.objectives and self.metric not in self.objectives:
            raise ValueError(f"metric {self.metric!r} must be one of the objectives: it ranks")
        if len(self.metrics) > 1 and self.pruner != "none":
            raise ValueError("pruner needs a single objective")
        if len(self.metrics) > 1 and self.tuning_seeds > 1:
            raise ValueError("tuning_seeds above 1 needs a single objective: trials race by it")
        if len(self.metrics) > 1 and self.sampler == "cma_es":
            raise ValueError("sampler 'cma_es' needs a single objective; use 'nsga2', 'tpe', 'gp'")
        if self.constraints and self.sampler not in CONSTRAINED:
            raise ValueError(f"sampler {self.sampler!r} cannot use constraints; "
                             "use 'tpe', 'gp' or 'nsga2'")  # fmt: skip
        return self

    @property
    def budget_ratio(self) -> float | None:
        """How many times a trial's budget a finalist has; None if their units differ."""
        if self.trial_budget is None:
            return 1.0
        unit, trial = self.trial_budget.given
        own, final = self.budget.given if self.budget else ("", 0.0)
        return final / trial if unit == own else None

    @property
    def metrics(self) -> tuple[str, ...]:
        """All objectives, the one that ranks first."""
        return (self.metric, *(each for each in self.objectives if each != self.metric))

    @property
    def directions(self) -> tuple[bool, ...]:
        """Whether higher is better, for each of `metrics`."""
        return tuple(metric_info(metric).direction == "higher" for metric in self.metrics)

    @property
    def measured(self) -> tuple[str, ...]:
        """The objectives, and the metrics of the constraints."""
        return tuple(dict.fromkeys((*self.metrics, *(each.metric for each in self.constraints))))

    def violated(
        self, metrics: Mapping[str, float | None], rule: Rule = "last"
    ) -> dict[Constraint, float]:
        """The constraints that these metrics, at the checkpoint that the rule picks, do not keep,
        and by how much; infinite where the value is unknown.
        """
        found = {
            each: each.excess(metrics.get(checkpoint_key(each.metric, rule)))
            for each in self.constraints
        }
        return {each: excess for each, excess in found.items() if excess > 0}

    def violation(self, metrics: Mapping[str, float | None], rule: Rule = "last") -> float:
        """The total violation, as Optuna's samplers compute it: the sum over `violated`."""
        return sum(self.violated(metrics, rule).values())

    def keeps(self, scores: Mapping[str, float | None]) -> bool:
        """Whether these scores keep all constraints."""
        return not self.violated(scores)

    def tuning_seed_list(self) -> list[int]:
        """The seeds that a trial may have, in their order."""
        return list(range(self.tuning_seed, self.tuning_seed + self.tuning_seeds))

    def trials_text(self, how: str) -> str:
        """The number of trials, `how` they are proposed, what each may spend and, if they race, the
        number of their seeds, for people.
        """
        budget = self.trial_budget or self.budget
        trials = f"{count(self.trials, 'trial')} ({how})"
        trials += f" of {budget.text}" if budget else ""
        if self.tuning_seeds == 1:
            return trials
        return (f"{trials}, each with 1 to {self.tuning_seeds} tuning seeds (it gets the next one "
                "while it is among the best third so far),")  # fmt: skip

    @property
    def finals_text(self) -> str:
        """The seeds of the finalists, and their budget if the trials have another, for people."""
        each = f" and {self.spent} each" if self.trial_budget else ""
        return f"{self.seed_text} that were not used for tuning{each}"

    @property
    def constraints_text(self) -> str:
        """The constraints as a sentence; empty without any."""
        if not self.constraints:
            return ""
        each = " and ".join(f"`{constraint}`" for constraint in self.constraints)
        return f"Finalists keep {each}; if no trial does, the least violation counts. "

    def further_runs(self, trials: int) -> tuple[int, int]:
        """Runs with further tuning seeds of an arm of so many trials: the expected number if later
        trials are as good as earlier ones, and the largest.
        """
        racing, expected = float(trials), 0.0
        for _ in range(self.tuning_seeds - 1):
            racing = sum(math.ceil(n / FRACTION) / n for n in range(1, round(racing) + 1))
            expected += racing
        return round(expected), trials * (self.tuning_seeds - 1)

    def arm(
        self, name: str, definition: Definition, space: Space, published: Sequence[Settings]
    ) -> Arm:
        """The search of this table over the settings of one system, with the trials' budget."""
        tried = definition.budgeted(self.trial_budget)
        return Arm(name, tried, space, self.metrics, self.directions, self.trials,
                   self.sampler, self.pruner, tuple(published), self.warm_start,
                   tuple(self.constraints))  # fmt: skip


@dataclass(frozen=True)
class Trials:
    """What is known of the trials of an arm."""

    jobs: tuple[Job, ...]  # runs that have ended or can begin
    ahead: tuple[Job, ...]  # first runs of the trials that follow
    over: tuple[Done, ...]  # trials that get no further seeds, with their mean scores
    complete: bool  # whether all are over


@dataclass(frozen=True)
class Tuned(Variant):
    """A row with the settings of a trial. The queue records them when its first run is queued, and
    all its runs have them, whatever trial is the best later.
    """

    settings: Settings = field(default_factory=dict)


def trials_of(
    arm: Arm,
    table: TuningTable,
    limit: Limit,
    done: Sequence[Done],
    prefix: str,
    running: Collection[Key] = (),
) -> Trials:
    """The trials of an arm.

    A trial races on with the next tuning seed if it is among the best third of the earlier trials
    and itself, so that no trial waits for a later one: asynchronous successive halving (Li et al.
    2020). A trial that left comes back only if an earlier one ends after it. One with a run that
    failed is over, and no rival. If the time for searching is over, no trial begins or goes on, and
    only those that run now are waited for.
    """
    ended = {each.key: each for each in done}
    jobs: list[Job] = []
    ahead: list[Job] = []
    over: list[Done] = []
    race: list[list[Standing]] = []  # of the earlier trials, after each of their seeds
    config = arm.config({})
    for place in range(limit.trials or table.trials):
        row = Variant(f"{prefix}{trial_name(place)}", {}, config, whole=True)
        own = [Job(row, s, arm, place, level="trial") for s in table.tuning_seed_list()]
        runs = [ended[job.key] for job in takewhile(lambda job: job.key in ended, own)]
        jobs += own[: len(runs)]
        following = [
            job for job in own[len(runs) : len(runs) + 1]
            if not limit.closed or job.key in running
        ]  # fmt: skip
        if not runs:
            (jobs if table.tuning_seeds == 1 else ahead).extend(following)
            continue
        standings = _standings(runs, table)
        if following and standings and races_on(standings, race):
            jobs.append(replace(following[0], first=runs[0]))
        else:
            over.append(_mean(runs))
        if standings:
            race.append(standings)
    planned = {job.place for job in (*jobs, *ahead)}
    return Trials(tuple(jobs), tuple(ahead), tuple(over), len(over) == len(planned))


def _standings(runs: Sequence[Done], table: TuningTable) -> list[Standing]:
    """Of a trial after each of its seeds, the violation of the constraints before the score; none
    if a run failed.
    """
    if any(each.outcome != "ok" or each.scores.get(table.metric) is None for each in runs):
        return []
    sign = 1.0 if table.higher_is_better else -1.0
    means = (_mean(runs[:n]).scores for n in range(1, len(runs) + 1))
    return [(-table.violation(each), sign * (each[table.metric] or 0.0)) for each in means]


def races_on(own: Sequence[Standing], earlier: Sequence[Sequence[Standing]]) -> bool:
    """Whether a trial is among the best third (FRACTION) of the trials so far, by its standing and
    that of earlier trials after as many seeds; of equal ones the first is best.
    """
    n = len(own)
    rivals = [each[n - 1] for each in earlier if len(each) >= n]
    as_good = sum(each >= own[-1] for each in rivals)
    return as_good < math.ceil((len(rivals) + 1) / FRACTION)


def _mean(runs: Sequence[Done]) -> Done:
    """A trial as one result: the mean scores over its seeds; it failed if one of its runs did."""
    outcome = next((each.outcome for each in runs if each.outcome != "ok"), "ok")
    values = {key: [each.scores.get(key) for each in runs] for key in runs[0].scores}
    scores = {
        key: None if None in of else fmean(x for x in of if x is not None)
        for key, of in values.items()
    }
    return replace(runs[0], outcome=outcome, scores=scores, runs=len(runs))


def with_trials(finals: Plan, trials: Sequence[Trials]) -> Plan:
    """The plan of the finalists after that of the trials of all arms, in turn."""
    jobs, ahead = (
        sorted((job for each in trials for job in getattr(each, name)), key=lambda job: job.place)
        for name in ("jobs", "ahead")
    )
    over = tuple(trial for each in trials for trial in each.over)
    return replace(finals, jobs=(*jobs, *finals.jobs), ahead=(*ahead, *finals.ahead), over=over)


def trial_name(place: int) -> str:
    """The name of a trial, and of the row that it becomes as a finalist."""
    return f"trial {place:03d}"


def finalists(results: Sequence[Done], table: TuningTable) -> list[Done]:
    """The best proposals other than the published ones, best first: of those that raced, the ones
    with the most seeds come before all others.

    One that breaks a constraint is among them only if no trial, published or not, keeps all; then
    the least violation is best among those with as many seeds. With several objectives they are
    those of the Pareto front, in the order of the first objective; if there are more than
    `study.finalists`, a selection that is spread evenly over the front.
    """
    signs = [1.0 if up else -1.0 for up in table.directions]

    def value(each: Done) -> tuple[float, ...]:
        scores = (each.scores[metric] or 0.0 for metric in table.metrics)
        return tuple(sign * score for sign, score in zip(signs, scores, strict=True))

    complete = [
        each for each in results
        if each.outcome == "ok"
        and all(each.scores.get(metric) is not None for metric in table.metrics)
    ]  # fmt: skip
    keeping = [each for each in complete if table.keeps(each.scores)]
    ranked = sorted(
        (each for each in keeping or complete if not each.published),
        key=lambda each: (each.runs, -table.violation(each.scores), value(each)),
        reverse=True,
    )
    if len(table.metrics) == 1 or not keeping:
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


def final_row(name: str, settings: Settings, definition: Definition) -> Tuned:
    """Settings as a row of the leaderboard, with the budget of the definition."""
    config = definition.config(settings, f"{name}, the best settings")
    return Tuned(name, shown(settings), config, whole=True, settings=settings)


def shown(settings: Settings) -> dict[str, str]:
    """Settings as a row of the leaderboard shows them."""
    return {key: _shown(value) for key, value in settings.items()}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value.get("name") if isinstance(value, dict) else value)
