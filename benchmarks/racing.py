"""What racing over tuning seeds gains over other ways to spend the same runs.

    python -m benchmarks.racing [--repeats 60] [--sampler tpe] [--noise 0.05 0.25 0.6]

About four CPU minutes. A search of three settings has 60 runs. The score is a quadratic function
of them, and a run adds normal noise, whose standard deviation is given as a share of that of the
scores of random settings. Rules:

    one seed     60 trials, each with one seed
    all seeds    20 trials, each with three seeds
    at the end   successive halving: all trials have one seed, then the best third a second one, and
                 the best third of these a third one
    best 1       each trial goes on while it is the best so far
    best 3       each trial goes on while it is among the best three so far
    race         each trial goes on while it is in the best third so far; in use

Printed are the losses of true score, in standard deviations of the scores of random settings: of
the one finalist, and of the best of three finalists by five further seeds; and the optimism gap of
the first finalist, its mean over tuning seeds minus its true score.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna

from studies.tuning import races_on

SETTINGS, SEEDS, RUNS, FURTHER = 3, 3, 60, 5
WEIGHTS = np.array([3.0, 1.5, 0.5])
RULES = ("one seed", "all seeds", "at the end", "best 1", "best 3", "race")
NOISE = (0.05, 0.25, 0.6)
Trials = list[tuple[np.ndarray, list[float]]]  # settings and scores


class Task:
    """True scores of settings in [0, 1], and noisy ones."""

    def __init__(self, seed: int, noise: float) -> None:
        self.rng = np.random.default_rng([seed, 7])
        self.best, self.published = (
            self.rng.uniform(*ends, SETTINGS) for ends in ((0.2, 0.8), (0, 1))
        )
        self.spread = np.std([self.score(each) for each in self.rng.uniform(size=(400, SETTINGS))])
        self.noise = noise * float(self.spread)

    def score(self, settings: np.ndarray) -> float:
        """Without noise."""
        return -float((WEIGHTS * (settings - self.best) ** 2).sum())

    def run(self, settings: np.ndarray) -> float:
        """With noise, which is larger away from the best settings."""
        size = 0.7 + abs(settings[0] - self.best[0])
        return self.score(settings) + size * self.noise * float(self.rng.normal())


@dataclass
class Sampler:
    """Random settings, or Optuna's TPE as in `studies/running/proposals.py`."""

    kind: str
    seed: int
    trials: int
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        startup = max(2, min(10, round(0.25 * self.trials)))
        sampler = optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=startup)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        uniform = optuna.distributions.FloatDistribution(0, 1)
        self.space = {f"x{place}": uniform for place in range(SETTINGS)}

    def ask(self, first: np.ndarray | None) -> tuple[np.ndarray, optuna.Trial | None]:
        """Settings: `first`, if given."""
        if self.kind == "random":
            return (self.rng.uniform(size=SETTINGS) if first is None else first), None
        if first is not None:
            self.study.enqueue_trial(dict(zip(self.space, map(float, first), strict=True)))
        trial = self.study.ask(self.space)
        return np.array([*trial.params.values()]), trial

    def tell(self, trial: optuna.Trial | None, value: float) -> None:
        """Of the trial."""
        if trial is not None:
            self.study.tell(trial, value)


def goes_on(rule: str, own: Sequence[float], earlier: Sequence[list[float]]) -> bool:
    """Whether a trial with these scores gets another seed at once."""
    if rule == "race":
        return races_on(means(own), [means(each) for each in earlier])
    if rule.startswith("best"):
        n, mean = len(own), np.mean(own)
        better = sum(np.mean(each[:n]) >= mean for each in earlier if len(each) >= n)
        return better < int(rule.removeprefix("best"))
    return rule == "all seeds"


def means(scores: Sequence[float]) -> list[tuple[float]]:
    """After each of the seeds."""
    return [(float(np.mean(scores[:n])),) for n in range(1, len(scores) + 1)]


def thirds(trials: int) -> list[int]:
    """Trials with a first, second and third seed."""
    return [trials, second := math.ceil(trials / 3), math.ceil(second / 3)]


def search(task: Task, sampler: str, seed: int, rule: str) -> Trials:
    """The trials of a search of RUNS runs."""
    most = {"all seeds": RUNS // SEEDS}.get(rule, RUNS)
    if rule == "at the end":
        most = max(n for n in range(1, RUNS) if sum(thirds(n)) <= RUNS)
    expected = RUNS * 2 // 3 if rule[:4] in ("best", "race") else most
    proposals, trials, used = Sampler(sampler, seed, expected), [], 0
    while used < RUNS and len(trials) < most:
        settings, trial = proposals.ask(None if trials else task.published)
        scores: list[float] = []
        while used < RUNS and len(scores) < SEEDS:
            scores.append(task.run(settings))
            used += 1
            if not goes_on(rule, scores, [each for _, each in trials]):
                break
        trials.append((settings, scores))
        proposals.tell(trial, float(np.mean(scores)))
    for number in thirds(most)[1:] if rule == "at the end" else ():
        for settings, scores in ranked(trials)[:number]:
            scores.append(task.run(settings))
    return trials


def ranked(trials: Trials) -> Trials:
    """Those with the most seeds first, then the best."""
    return sorted(trials, key=lambda each: (-len(each[1]), -np.mean(each[1])))


def simulated(sampler: str, noise: float, repeats: int, rule: str) -> dict[str, float]:
    """Mean losses and gap over so many searches, and the standard errors of the losses."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for repeat in range(repeats):
        task = Task(repeat, noise)
        best = ranked(search(task, sampler, repeat, rule))[:3]
        true = [task.score(settings) for settings, _ in best]
        again = [each + task.noise * task.rng.normal(size=FURTHER).mean() for each in true]
        gap = np.mean(best[0][1]) - true[0]
        found.append(np.array([-true[0], -true[int(np.argmax(again))], gap]) / task.spread)
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(repeats)
    return {"one": means[0], "three": means[1], "gap": means[2],
            "one_error": errors[0], "three_error": errors[1]}  # fmt: skip


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--sampler", choices=("tpe", "random"), default="tpe")
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE)
    given = parser.parse_args()
    print("| noise | rule | loss, one finalist | loss, best of three | optimism gap |")
    print("|---|---|---|---|---|", flush=True)
    for noise in given.noise:
        for rule in RULES:
            found = simulated(given.sampler, noise, given.repeats, rule)
            losses = (f"{found[key]:.3f} ± {found[key + '_error']:.3f}" for key in ("one", "three"))
            print(f"| {noise} | {rule} | {' | '.join(losses)} | {found['gap']:+.3f} |", flush=True)


if __name__ == "__main__":
    main()
