"""Sections of searches and comparisons: finalists, settings, tuning curve, importance, front."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from core.config.renamed import current_settings
from core.resampling import expected_best
from core.statistics import Interval
from core.tracking.protocol import WORST, RunRecord, read_tag
from studies.analysis.contrasts import effects
from studies.analysis.effects import contrast_section
from studies.figures import BLUE, COLOURS, GREY, band, bare_rows, canvas, legend_beside
from studies.leaderboard import rng_of, variant_runs
from studies.sections import Reading, Section, between
from studies.table import Contrast
from studies.tuning import TuningTable, dominates, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED = "published"
LEAST_FOR_IMPORTANCE = 8
Arms = Mapping[str, Sequence[RunRecord]]  # system -> its trials


def search_sections(reading: Reading) -> Iterator[Section]:
    """Sections of a search: every finalist against the published settings, and its trials."""
    rows = [row.variant for row in reading.board.rows if row.variant != PUBLISHED]
    against = [Contrast(level=row, reference=PUBLISHED) for row in sorted(rows)]
    found = effects(reading.board, reading.table.contrasts or against)
    yield from contrast_section(reading, found, "finalists")
    yield from tuning_sections(reading)


def tuning_sections(reading: Reading) -> Iterator[Section]:
    """Settings, tuning curves, importance (with enough trials), front (of several objectives)."""
    assert isinstance(reading.table, TuningTable)
    arms = {
        name: [trial for trial in reading.trials if trial.tags.get("arm", "") == name]
        for name in sorted({trial.tags.get("arm", "") for trial in reading.trials})
    }
    yield from _settings(reading, arms)
    if not arms:
        return
    if reading.table.tuning_seeds > 1:
        yield _race(reading)
    yield _curves(reading, arms)
    shares = {arm: importance(reading, trials) for arm, trials in arms.items()}
    if any(shares.values()):
        yield _importance({arm: share for arm, share in shares.items() if share})
    if len(reading.table.metrics) > 1:
        yield _front(reading.table, reading.trials)


def _settings_of(trial: RunRecord) -> dict[str, Any]:
    found = read_tag(trial, "settings", json.loads) if "settings" in trial.tags else {}
    return current_settings(found)


def _settings(reading: Reading, arms: Arms) -> Iterator[Section]:
    """Each row's settings next to the published ones."""
    own = {
        arm: shown(_settings_of(trial))
        for arm, trials in arms.items()
        for trial in trials
        if trial.tags.get("published") == "true"
    }
    own_runs = variant_runs(reading.tracker, reading.board.study)
    given = {variant: run.params for variant, run in own_runs.items()}
    only = next(iter(own.values()), {}) if len(own) == 1 else {}
    rows = {
        row.variant: dict(given.get(row.variant, {})) or own.get(row.variant, only)
        for row in reading.board.rows
    }
    keys = sorted({key for settings in rows.values() for key in settings})
    if keys:
        cells = [[key, *(settings.get(key, "") for settings in rows.values())] for key in keys]
        yield Section("settings", ("setting", *rows), cells)


def _race(reading: Reading) -> Section:
    """How many tuning seeds each trial had; those with the most first, then the best."""
    assert isinstance(reading.table, TuningTable)
    metric, higher = reading.table.picked(reading.table.metric), reading.table.higher_is_better
    scores = scores_of(reading, reading.trials, metric)
    found = [
        (int(trial.tags["runs"]), score if higher else -score, trial)
        for trial, score in zip(reading.trials, scores, strict=True)
    ]
    rows = [
        [trial.variant, str(runs), str(trial.outcome),
         f"{trial.metrics[metric]:.4f}" if metric in trial.metrics else "-"]
        for runs, _, trial in sorted(found, key=lambda each: each[:2], reverse=True)
    ]  # fmt: skip
    seeds = ", ".join(str(seed) for seed in reading.table.tuning_seed_list())
    values = {"seeds": seeds}
    return Section(
        "race", ("trial", "tuning seeds", "outcome", f"mean {metric}"), rows, values=values
    )


def scores_of(reading: Reading, trials: Sequence[RunRecord], metric: str) -> list[float]:
    """Score of each trial; the worst of all for those that diverged or collapsed."""
    known = [None if t.outcome in WORST else t.metrics.get(metric) for t in trials]
    return with_worst(known, higher_is_better=reading.table.higher_is_better)


def with_worst(scores: Sequence[float | None], *, higher_is_better: bool) -> list[float]:
    """Scores with missing ones replaced by the worst of these; 0 if all are missing."""
    known = [score for score in scores if score is not None and np.isfinite(score)]
    worst = (min(known) if higher_is_better else max(known)) if known else 0.0
    return [worst if s is None or not np.isfinite(s) else s for s in scores]


def _curves(reading: Reading, arms: Arms) -> Section:
    metric, higher = reading.table.picked(reading.table.metric), reading.table.higher_is_better
    curves: dict[str, list[Interval]] = {}
    for arm, trials in arms.items():
        scores = scores_of(reading, trials, metric)
        curves[arm] = expected_best(scores, rng_of(arm), higher_is_better=higher)
    rows = [
        [arm, str(n), f"{curve[n - 1].value:.4f}", between(curve[n - 1].ends)]
        for arm, curve in curves.items()
        for n in sorted({1, 2, 5, 10, 20, 50, len(curve)})
        if n <= len(curve)
    ]
    return Section(
        "tuning",
        ("system", "trials", "expected best", "95% band"),
        rows,
        {"tuning": lambda: _curves_figure(curves, metric)},
    )


def _curves_figure(curves: Mapping[str, Sequence[Interval]], metric: str) -> Figure:
    drawing, axis = canvas(6.4, 4)
    for arm, curve in curves.items():
        band(axis, range(1, len(curve) + 1), curve, arm)
    axis.set_xlabel("trials")
    axis.locator_params(axis="x", integer=True)
    axis.set_ylabel(f"expected best {metric}")
    axis.set_title("Expected best score by number of trials, with 95% bands", fontsize=10)
    if len(curves) > 1:
        legend_beside(axis)
    return drawing


def importance(reading: Reading, trials: Sequence[RunRecord]) -> dict[str, float]:
    """Importance of each numeric setting for being a good trial (PED-ANOVA, Watanabe et al. 2023);
    empty with too few trials.
    """
    scores = scores_of(reading, trials, reading.table.picked(reading.table.metric))
    settings = [_settings_of(trial) for trial in trials]
    keys = sorted(set.intersection(*(set(each) for each in settings))) if settings else []
    numbers = [key for key in keys if all(_is_number(each[key]) for each in settings)]
    varied = [key for key in numbers if len({each[key] for each in settings}) > 1]
    if len(trials) < LEAST_FOR_IMPORTANCE or not varied or len(set(scores)) < 2:
        return {}
    space = {key: _distribution([float(each[key]) for each in settings]) for key in varied}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    higher = reading.table.higher_is_better
    study = optuna.create_study(direction="maximize" if higher else "minimize")
    for each, score in zip(settings, scores, strict=True):
        params = {key: float(each[key]) for key in varied}
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return {key: float(value) for key, value in found.items()}


def _distribution(values: Sequence[float]) -> BaseDistribution:
    low, high = min(values), max(values)
    return FloatDistribution(low, high, log=low > 0 and high / low > 10)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _importance(shares: Mapping[str, Mapping[str, float]]) -> Section:
    bars = [
        (arm, key, share)
        for arm, settings in shares.items()
        for key, share in sorted(settings.items(), key=lambda item: -item[1])
    ]
    return Section(
        "importance",
        ("system", "setting", "importance"),
        [[arm, key, f"{share:.0%}"] for arm, key, share in bars],
        {"importance": lambda: _importance_figure(bars)},
    )


def _importance_figure(bars: Sequence[tuple[str, str, float]]) -> Figure:
    """A bar for each setting, a colour for each system, the most important on top."""
    arms = list(dict.fromkeys(arm for arm, _, _ in bars))
    drawing, axis = canvas(6.4, 1 + 0.34 * len(bars))
    for y, (arm, _, share) in enumerate(bars[::-1]):
        axis.barh(y, share, height=0.6, color=COLOURS[arms.index(arm) % len(COLOURS)])
    labels = [f"{arm}: {key}" if len(arms) > 1 else key for arm, key, _ in bars[::-1]]
    axis.set_yticks(range(len(bars)), labels)
    axis.set_xlabel("importance, share")
    bare_rows(axis)
    return drawing


def _front(table: TuningTable, trials: Sequence[RunRecord]) -> Section:
    metrics, directions = [table.picked(each) for each in table.metrics], table.directions
    usable = [t for t in trials if t.outcome == "ok" and all(m in t.metrics for m in metrics)]
    values = np.array([[t.metrics[m] for m in metrics] for t in usable]).reshape(-1, len(metrics))
    signed = values * np.where(directions, 1.0, -1.0)
    on_front = np.array([not any(dominates(b, a) for b in signed) for a in signed], dtype=bool)
    rows = [
        [trial.name, *(f"{value:.4f}" for value in row)]
        for trial, row, on in zip(usable, values, on_front, strict=True)
        if on
    ]
    labels = [f"{metric} ({'higher' if up else 'lower'} is better)"
              for metric, up in zip(metrics, directions, strict=True)]  # fmt: skip
    return Section(
        "front",
        ("trial", *metrics),
        rows,
        {"front": lambda: _front_figure(values, on_front, labels)},
    )


def _front_figure(values: np.ndarray, on_front: np.ndarray, labels: Sequence[str]) -> Figure:
    """The first two objectives."""
    drawing, axis = canvas(5.6, 4.4)
    axis.plot(*values[~on_front, :2].T, "o", color=GREY, ms=5, label="trial")
    order = np.argsort(values[on_front, 0])
    axis.plot(*values[on_front, :2][order].T, "D:", color=BLUE, ms=6, lw=1, label="front")
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    legend_beside(axis)
    return drawing
