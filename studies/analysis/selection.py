"""Which checkpoint of a run is scored: what each rule of `study.selection` costs and changes.

A rule that chooses on the validation split flatters the score there. Its *optimism gap* is the
score on validation minus that on test, in the mean over runs. Whether the winner depends on the
rule or on the seeds is estimated by a bootstrap that repeats every choice: a resampled run brings
the checkpoint that each rule picked in it, and finalists are chosen from resampled trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.metrics.catalogue import checkpoint_key
from core.resampling import RESAMPLES, resample
from core.statistics import means
from studies.leaderboard import Leaderboard, leaderboard, rng_of
from studies.sections import Reading, Section, between, names

Draws = dict[str, np.ndarray]  # row -> its scores (rules, resamples), higher is better


@dataclass(frozen=True)
class RuleResult:
    """What one rule gives; a number that is unknown is NaN, a share None."""

    rule: str
    metric: str
    ranking: Mapping[str, float | None]  # row -> score, best first
    gap: float
    low: float
    high: float
    runs: int  # that the gap is a mean of
    other_winner: float | None = None  # share of resamples with another winner than the first rule
    winner_changes: float | None = None  # share of them with another winner than in the study


def rule_results(reading: Reading) -> list[RuleResult]:
    """The result of each rule; none if there is one rule, no ended run or no ranking."""
    table, study, found = reading.table, reading.board.study, []
    rules = table.selection if len(table.selection) > 1 and reading.board.rows else []
    boards = [leaderboard(reading.tracker, study, table.ranked_with(rule)) for rule in rules]
    if not boards or not all(board.ranked for board in boards):
        return []
    winners = _winners(reading, boards)
    for place, (rule, board) in enumerate(zip(rules, boards, strict=True)):
        key = checkpoint_key(table.metric, rule)
        test = key.replace("eval", "test", 1)
        both = [run.metrics for run in reading.seeds if {key, test} <= run.metrics.keys()]
        (gap,) = means([[each[key] - each[test] for each in both]])
        ranking = {row.variant: row.score for row in board.rows}
        shares = []
        if winners is not None:
            others = (winners[0], next(iter(ranking)))
            shares = [float(np.mean(winners[place] != other)) for other in others]
        result = RuleResult(rule, board.metric, ranking, gap.value, *gap.ends, len(both), *shares)
        found.append(result)
    return found


def _winners(reading: Reading, boards: Sequence[Leaderboard]) -> np.ndarray | None:
    """The best row (rules, resamples), with the same resamples for all rules. None if a row has a
    single run, or a run without a score.

    Deviations from a row's mean are enlarged by sqrt(n / (n - 1)): the variance of a bootstrap is
    too small by the square of that.
    """
    rng, sign = rng_of(reading.board.study), 1 if reading.board.higher_is_better else -1
    draws: Draws = {}
    for name in (row.variant for row in reading.board.rows):  # of a tie the first row wins
        scores = [row.scores for board in boards for row in board.rows if row.variant == name]
        values = sign * np.array(
            [[each.get(unit, np.nan) for unit in scores[0]] for each in scores]
        )
        n = values.shape[1]
        if n < 2 or np.isnan(values).any():
            return None
        mean = values.mean(axis=1, keepdims=True)
        drawn = values[:, resample(n, rng)].mean(axis=-1)
        draws[name] = mean + math.sqrt(n / (n - 1)) * (drawn - mean)
    for arm in sorted({trial.tags.get("arm", "") for trial in reading.trials}):
        draws |= _with_trials(reading, arm, draws, rng)
    best = np.argmax(np.stack([*draws.values()]), axis=0)
    winners: np.ndarray = np.array([*draws])[best]
    return winners


def _with_trials(reading: Reading, arm: str, draws: Draws, rng: np.random.Generator) -> Draws:
    """The draws of an arm's rows if its trials are resampled too, minus infinity where a row is not
    chosen. A trial that never ran with new seeds counts with its own score, corrected by the mean
    difference of those that did. With several objectives nothing is resampled.
    """
    table: Any = reading.table
    keys = [checkpoint_key(table.metric, rule) for rule in table.selection]
    one_row = arm in draws  # of a comparison; the finalists of a search are rows of their own
    trials = [
        trial for trial in reading.trials
        if trial.tags.get("arm", "") == arm and trial.outcome == "ok"
        and {*keys} <= trial.metrics.keys() and (one_row or trial.tags["published"] != "true")
    ]  # fmt: skip
    values = np.array([[trial.metrics[key] for trial in trials] for key in keys])
    values *= 1 if reading.board.higher_is_better else -1
    excess = [
        [table.violation(trial.metrics, rule) for trial in trials] for rule in table.selection
    ]
    labels = [arm if one_row else trial.variant for trial in trials]
    tuned = [int(trial.tags["runs"]) for trial in trials]  # those with most seeds come first
    ran = [i for i, label in enumerate(labels) if label in draws]
    if one_row and ran:  # as `finalists` ranks
        ran = [max(ran, key=lambda i: (not excess[0][i], tuned[i], -excess[0][i], values[0][i]))]
    if not ran or len(table.metrics) > 1:
        return {}
    shift = np.mean([draws[labels[i]].mean(axis=1) - values[:, i] for i in ran], axis=0)
    found = {label: np.full((len(keys), RESAMPLES), -np.inf) for label in labels}
    for place, drawn in enumerate(resample(len(trials), rng)):
        for rule, (scores, broken) in enumerate(zip(values, excess, strict=True)):
            keeping = {i for i in drawn.tolist() if not broken[i]} or {*drawn.tolist()}
            chosen = sorted(keeping, key=lambda i: (-tuned[i], broken[i], -scores[i]))
            for i in chosen[: 1 if one_row else table.finalists]:
                known = draws[labels[i]][rule, place] if i in ran else scores[i] + shift[rule]
                found[labels[i]][rule, place] = known
    return found


def which_checkpoint(reading: Reading) -> Iterator[Section]:
    """The ranking by each rule, its optimism gap, and how firm its winner is."""
    found = rule_results(reading)
    if not found:
        return
    places, first = [[*each.ranking] for each in found], found[0]
    rows = [
        [row, *(f"{place.index(row) + 1}. ({each.ranking[row]:.4f})"
                for place, each in zip(places, found, strict=True))]
        for row in places[0]
    ]  # fmt: skip
    ends = [(each.low, each.high) if each.runs > 1 else None for each in found]
    rows += [
        ["optimism gap", *(f"{each.gap:+.4f}" for each in found)],
        ["its 95% interval", *(between(each, sign="+") for each in ends)],
        [f"winner is not that of {first.rule}", *(_share(each.other_winner) for each in found)],
        ["winner is not the one above", *(_share(each.winner_changes) for each in found)],
    ]
    winner, rules = places[0][0], [each.rule for each in found]
    others = [rule for rule, place in zip(rules, places, strict=True) if place[0] != winner]
    said = f"`{winner}` is the best row by {names(rules)}."
    if others:
        said = f"`{winner}` is the best row by `{first.rule}`, but not by {names(others)}."
    if first.winner_changes is not None:
        said += f" In {first.winner_changes:.0%} of resamples another row wins by `{first.rule}`."
    resampled = "runs and trials" if reading.trials else "runs"
    values = {"resampled": resampled, "resamples": f"{RESAMPLES:,}"}
    yield Section("selection", ("", *rules), rows, findings=[said], values=values)


def _share(share: float | None) -> str:
    return "one run" if share is None else f"{share:.0%}"
