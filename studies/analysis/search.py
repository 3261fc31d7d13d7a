"""Sections of searches and comparisons: finalists, settings, trials, tuning curve, importance,
front.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from core.config.renamed import current_settings
from core.metrics.catalogue import metric_info
from core.resampling import expected_best
from core.statistics import Interval
from core.tracking.protocol import WORST, RunRecord, read_tag
from studies.analysis.contrasts import Effect, effects
from studies.analysis.effects import contrast_section
from studies.constraints import Constraint
from studies.figures import (
    BLUE,
    COLOURS,
    GREY,
    Maker,
    band,
    bare_rows,
    canvas,
    legend_beside,
    optuna_plot,
)
from studies.leaderboard import Row, rng_of, variant_runs
from studies.sections import TEXTS, Reading, Section, between, means, names
from studies.table import Contrast
from studies.tuning import TuningTable, dominates, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED = "published"
LEAST_FOR_IMPORTANCE = 8
# Optuna's plots of settings: the fewest and the most settings that they show.
OF_SETTINGS = {"parallel_coordinate": (1, 5), "slice": (1, 4), "contour": (2, 2), "rank": (2, 2)}
Arms = Mapping[str, Sequence[RunRecord]]  # system -> its trials
Tried = Mapping[str, optuna.Study]  # the same, as Optuna has them


def against_published(reading: Reading) -> list[Effect]:
    """The contrasts of the study's file, or every finalist against the published settings."""
    rows = [row.variant for row in reading.board.rows if row.variant != PUBLISHED]
    against = [Contrast(level=row, reference=PUBLISHED) for row in sorted(rows)]
    return effects(reading.board, reading.table.contrasts or against)


def search_sections(reading: Reading) -> Iterator[Section]:
    """Sections of a search: its contrasts and its trials."""
    yield from contrast_section(reading, against_published(reading), "finalists")
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
    found = {arm: _as_optuna(reading, arm, trials) for arm, trials in arms.items()}
    tried = {arm: study for arm, study in found.items() if study is not None}
    shares = {arm: importance(study) for arm, study in tried.items()}
    if reading.table.constraints:
        yield _constraints(reading, arms)
    yield _trials(reading, _plots(reading, tried, shares))
    ended = {arm: [each for each in trials if each.outcome] for arm, trials in arms.items()}
    yield _curves(reading, {arm: trials for arm, trials in ended.items() if trials})
    if any(shares.values()):
        yield _importance({arm: share for arm, share in shares.items() if share})
    if len(reading.table.metrics) > 1:
        yield _front(reading.table, _keeping(reading.table, reading.trials) or reading.trials)


def _keeping(table: TuningTable, trials: Sequence[RunRecord]) -> list[RunRecord]:
    """The trials that ended well and keep all constraints."""
    rule = table.selection[0]
    return [t for t in trials if t.outcome == "ok" and not table.violated(t.metrics, rule)]


def _constraints(reading: Reading, arms: Arms) -> Section:
    """The constrained metrics of each row, in the mean over its runs on the split that ranks."""
    table, split, rows = reading.table, reading.board.metric.partition("/")[0], []
    assert isinstance(table, TuningTable)
    said = [
        f"No trial{f' of `{arm}`' * (len(arms) > 1)} keeps all constraints; its finalists are "
        "those that break them least."
        for arm, trials in arms.items() if not _keeping(table, trials)
    ]  # fmt: skip
    for row in reading.board.rows:
        metrics = _constrained(reading, row)
        violated = table.violated(metrics)
        rows.append([row.variant, *(_kept(each, metrics, violated) for each in table.constraints)])
        if violated:
            which = names([str(each) for each in violated])
            said.append(f"`{row.variant}` breaks {which} in the mean over its runs.")
    kept = sum(len(_keeping(table, trials)) for trials in arms.values())
    values = {"kept": kept, "trials": len(reading.trials), "split": split}
    columns = ("variant", *map(str, table.constraints))
    return Section("constraints", columns, rows, findings=said, values=values)


def _constrained(reading: Reading, row: Row) -> dict[str, float]:
    """The metrics of a row that its constraints are about, under the names that those have."""
    split = reading.board.metric.partition("/")[0]
    found = means(reading.runs_of(row), f"{split}/")
    return {f"eval/{key.partition('/')[2]}": value for key, value in found.items()}


def keeps_constraints(reading: Reading, row: Row) -> bool:
    """Whether a row keeps the constraints of its study, in the mean over its runs."""
    return reading.table.keeps(_constrained(reading, row))


def _kept(
    constraint: Constraint, metrics: Mapping[str, float], violated: Mapping[Constraint, float]
) -> str:
    value = metrics.get(constraint.metric)
    text = "no value" if value is None else f"{value:.4f}"
    return f"{text} (broken)" if constraint in violated else text


def _settings_of(trial: RunRecord) -> dict[str, Any]:
    found = read_tag(trial, "settings", json.loads) if "settings" in trial.tags else {}
    return current_settings(found)


def _settings(reading: Reading, arms: Arms) -> Iterator[Section]:
    """Each row's settings next to the published ones."""
    own = {
        arm: shown(_settings_of(min(published, key=lambda trial: trial.variant)))
        for arm, trials in arms.items()
        if (published := [each for each in trials if each.tags.get("published") == "true"])
    }  # the first: earlier versions tag all settings that were given
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


def ranked_trials(reading: Reading) -> list[dict[str, Any]]:
    """Trials for `--json`: those that keep the constraints first, of these the ones with the most
    tuning seeds, of these the best. A failed one counts as the worst, and keeps its own metrics.
    """
    table, rule = reading.table, reading.table.selection[0]
    assert isinstance(table, TuningTable)
    metrics = [table.picked(metric) for metric in table.measured]
    scores = scores_of(reading, reading.trials, metrics[0])
    sign = 1 if table.higher_is_better else -1
    failed = math.inf if table.constraints else 0.0

    def place(each: tuple[float, RunRecord]) -> tuple[float, ...]:
        score, trial = each
        excess = failed if trial.outcome in WORST else table.violation(trial.metrics, rule)
        if excess > 0 and trial.outcome not in WORST:
            score = trial.metrics.get(metrics[0], score)
        return excess > 0, -int(trial.tags["runs"]), excess, -sign * score

    ranked = sorted(zip(scores, reading.trials, strict=True), key=place)
    return [
        {"trial": trial.variant, "tuning_seeds": int(trial.tags["runs"]),
         "outcome": trial.outcome or "running",
         "metrics": {metric: trial.metrics.get(metric) for metric in metrics},
         "breaks": [
             f"{each} (no value)" if math.isinf(excess) else str(each)
             for each, excess in table.violated(trial.metrics, rule).items() if trial.outcome
         ],
         "settings": _settings_of(trial)}
        for _, trial in ranked
    ]  # fmt: skip


def _trials(reading: Reading, plots: Mapping[str, Maker]) -> Section:
    """The settings and scores of each trial."""
    table = reading.table
    assert isinstance(table, TuningTable)
    every, seeds, constrained = ranked_trials(reading), table.tuning_seed_list(), table.constraints
    keys = sorted({key for each in every for key in each["settings"]})
    rows = [
        [each["trial"], str(each["tuning_seeds"]), each["outcome"],
         *("-" if value is None else f"{value:.4f}" for value in each["metrics"].values()),
         *([", ".join(each["breaks"]) or "none"] if constrained else ()),
         *(shown(each["settings"]).get(key, "") for key in keys)]
        for each in every
    ]  # fmt: skip
    race = TEXTS["race"]["explanation"].format(seeds=", ".join(map(str, seeds)))
    columns = ("trial", "tuning seeds", "outcome", *every[0]["metrics"],
               *(["breaks"] if constrained else ()), *keys)  # fmt: skip
    values = {
        "race": race * (len(seeds) > 1),
        "breaks": TEXTS["constraints"]["trials"] if constrained else "",
    }
    return Section("trials", columns, rows, plots, values=values)


def _plots(
    reading: Reading, tried: Tried, shares: Mapping[str, Mapping[str, float]]
) -> dict[str, Maker]:
    """Optuna's plots: the history of all systems and, of a single one, its settings, the most
    important first.
    """
    metric, studies = reading.table.picked(reading.table.metric), [*tried.values()]
    plots: dict[str, Maker] = {
        "optimization_history": partial(optuna_plot, "optimization_history", studies, metric)
    }
    if len(studies) == 1:
        (arm, study), *_ = tried.items()
        keys = [*shares[arm]] or [*study.trials[0].params]
        for name, (least, most) in OF_SETTINGS.items():
            if len(keys) >= least:
                plots[name] = partial(optuna_plot, name, study, metric, params=keys[:most])
    return plots if studies else {}


def scores_of(reading: Reading, trials: Sequence[RunRecord], metric: str) -> list[float]:
    """Score of each trial. Those that diverged or collapsed, have none, or break a constraint that
    another trial keeps have the metric's worst value; if it has none, the value of the study's
    worst trial; NaN if no trial has a value.
    """
    table, rule = reading.table, reading.table.selection[0]
    assert isinstance(table, TuningTable)
    constrained = bool(_keeping(table, trials))
    least = min if table.higher_is_better else max
    values = [each.metrics.get(metric, math.nan) for each in reading.trials]
    worst = metric_info(metric).worst
    if worst is None:
        worst = least((each for each in values if math.isfinite(each)), default=math.nan)
    known = [
        math.nan if t.outcome in WORST or (constrained and table.violated(t.metrics, rule))
        else t.metrics.get(metric, math.nan)
        for t in trials
    ]  # fmt: skip
    return [score if math.isfinite(score) else worst for score in known]


def _curves(reading: Reading, arms: Arms) -> Section:
    metric, higher = reading.table.picked(reading.table.metric), reading.table.higher_is_better
    curves: dict[str, list[Interval]] = {}
    for arm, trials in arms.items():
        scores = scores_of(reading, trials, metric)
        if not all(map(math.isfinite, scores)):
            continue  # no trial of the study has a value
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


def _as_optuna(reading: Reading, arm: str, trials: Sequence[RunRecord]) -> optuna.Study | None:
    """The ended trials as Optuna's study, with those settings that all have and that differ; None
    if all scores are the same, as with a single trial, or there is none.
    """
    trials = [trial for trial in trials if trial.outcome is not None]
    scores = scores_of(reading, trials, reading.table.picked(reading.table.metric))
    if len(set(scores)) < 2 or not all(map(math.isfinite, scores)):
        return None
    settings = [_settings_of(trial) for trial in trials]
    columns = {
        key: [float(each[key]) if _is_number(each[key]) else shown(each)[key] for each in settings]
        for key in sorted(set.intersection(*(set(each) for each in settings)))
    }
    varied = {key: values for key, values in columns.items() if len(set(values)) > 1}
    space = {key: _distribution(values) for key, values in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    higher = reading.table.higher_is_better
    study = optuna.create_study(direction="maximize" if higher else "minimize", study_name=arm)
    for place, score in enumerate(scores):
        params = {key: values[place] for key, values in varied.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=score))
    return study


def importance(study: optuna.Study) -> dict[str, float]:
    """Importance of each setting for being a good trial, highest first (PED-ANOVA, Watanabe et al.
    2023); empty with too few trials.
    """
    if len(study.trials) < LEAST_FOR_IMPORTANCE or not study.trials[0].params:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return {key: float(value) for key, value in found.items()}


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    if not all(map(_is_number, values)):
        return CategoricalDistribution(sorted(set(values), key=str))
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
