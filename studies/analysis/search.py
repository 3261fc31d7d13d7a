"""What searches and comparisons say: finalists, tuning curves, importance, the Pareto front."""

from __future__ import annotations

import itertools
import json
import warnings
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.statistics import Interval, expected_best, with_worst
from core.tracking.protocol import WORST, RunRecord
from studies.analysis.choices import contrast_section
from studies.sections import Reading, Section
from studies.table import Contrast
from studies.tuning import TuningTable, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED = "published"
LEAST_FOR_IMPORTANCE = 8


def search_sections(reading: Reading) -> list[Section]:
    """Sections of a search."""
    rows = [row.variant for row in reading.board.rows if row.variant != PUBLISHED]
    against = [Contrast(level=row, reference=PUBLISHED) for row in sorted(rows)]
    return [*_contrasts(reading, against), *tuning_sections(reading)]


def comparison_sections(reading: Reading) -> list[Section]:
    """Sections of a comparison."""
    rows = [row.variant for row in reading.board.rows]
    every = [Contrast(level=a, reference=b) for a, b in itertools.combinations(rows, 2)]
    return [*_contrasts(reading, every), *tuning_sections(reading)]


def tuning_sections(reading: Reading) -> list[Section]:
    """Tuning curves; with enough trials importance; with several objectives the front."""
    assert isinstance(reading.table, TuningTable)
    trials = reading.trials()
    arms = sorted({trial.tags.get("arm", "") for trial in trials})
    of_arm = {arm: [t for t in trials if t.tags.get("arm", "") == arm] for arm in arms}
    found = _settings(reading, trials)
    found += [_curves(reading, of_arm)] if trials else []
    important = {
        arm: shares for arm, runs in of_arm.items() if (shares := importance(reading, runs))
    }
    if important:
        found.append(_importance(important))
    if len(reading.table.metrics) > 1 and trials:
        found.append(_front(reading, trials))
    return found


def _settings(reading: Reading, trials: Sequence[RunRecord]) -> list[Section]:
    """What was found: each row's settings beside the published ones."""
    own = {
        trial.tags.get("arm", ""): shown(json.loads(trial.tags.get("settings", "{}")))
        for trial in trials
        if trial.tags.get("published") == "true"
    }
    runs = reading.tracker.runs(reading.board.study, tags={"level": "variant"})
    given = {run.name: run.params for run in runs}
    only = next(iter(own.values()), {}) if len(own) == 1 else {}
    rows = {
        row.variant: dict(given.get(row.variant, {})) or own.get(row.variant, only)
        for row in reading.board.rows
    }
    keys = sorted({key for settings in rows.values() for key in settings})
    if not keys:
        return []
    return [
        Section(
            "settings",
            "What was found",
            "The settings of the rows above. A row without a trial of its own has its published "
            "ones: no trial was better.",
            ("setting", *rows),
            [[key, *(settings.get(key, "") for settings in rows.values())] for key in keys],
        )
    ]


def _contrasts(reading: Reading, contrasts: Sequence[Contrast]) -> list[Section]:
    named = reading.table.contrasts or contrasts
    return contrast_section(reading, named, "finalists", "Finalists with fresh seeds")


def scores_of(reading: Reading, trials: Sequence[RunRecord], metric: str) -> list[float]:
    """Score of each trial, the worst of all for those that diverged or collapsed."""
    known = [None if t.outcome in WORST else t.metrics.get(metric) for t in trials]
    return with_worst(known, higher_is_better=reading.table.higher_is_better)


def _curves(reading: Reading, of_arm: dict[str, list[RunRecord]]) -> Section:
    metric, higher = reading.table.metric, reading.table.higher_is_better
    curves: dict[str, list[Interval]] = {}
    for arm, runs in of_arm.items():
        rng = np.random.default_rng(zlib.crc32(arm.encode()))
        scores = scores_of(reading, runs, metric)
        curves[arm] = expected_best(scores, rng, higher_is_better=higher)
    rows = [
        [arm, str(n), f"{curve[n - 1].value:.4f}",
         f"{curve[n - 1].low:.4f} to {curve[n - 1].high:.4f}"]
        for arm, curve in curves.items()
        for n in sorted({1, 2, 5, 10, 20, 50, len(curve)})
        if n <= len(curve)
    ]  # fmt: skip
    return Section(
        "tuning",
        "How much tuning pays",
        "The best score that n trials are expected to find: the mean over all subsets of n of the "
        "trials that were run, the published settings among them, with a bootstrap band over them, "
        "on the tuning seed and the validation split. Exact for trials that are independent draws; "
        "a sampler that learns makes later trials better, and then it describes these trials only.",
        ("system", "trials", "expected best", "95% band"),
        rows,
        {"tuning": lambda: _tuning_figure(curves, metric)},
        {"tuning": {arm: [[c.value, c.low, c.high] for c in curve]
                    for arm, curve in curves.items()}},
    )  # fmt: skip


def _tuning_figure(curves: dict[str, list[Interval]], metric: str) -> Figure:
    from matplotlib.figure import Figure

    from studies.figures import COLOURS

    drawing = Figure(figsize=(6.4, 4), layout="constrained")
    axis = drawing.subplots()
    for colour, (arm, curve) in zip(itertools.cycle(COLOURS), curves.items(), strict=False):
        n = range(1, len(curve) + 1)
        axis.plot(n, [c.value for c in curve], color=colour, lw=2, label=arm)
        axis.fill_between(
            n, [c.low for c in curve], [c.high for c in curve], color=colour, alpha=0.15, lw=0
        )
    axis.set_xlabel("trials")
    axis.locator_params(axis="x", integer=True)
    axis.set_ylabel(f"expected best {metric}")
    axis.set_title("How much tuning pays, with 95% bands", fontsize=10)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing


def importance(reading: Reading, trials: Sequence[RunRecord]) -> dict[str, float]:
    """Share of the good trials' distinctness that each setting explains (PED-ANOVA, Watanabe et
    al. 2023); empty with too few trials.
    """
    import optuna

    metric = reading.table.metric
    scores = scores_of(reading, trials, metric)
    settings = [json.loads(trial.tags.get("settings", "{}")) for trial in trials]
    keys = sorted(set.intersection(*(set(each) for each in settings))) if settings else []
    numbers = [key for key in keys if all(_is_number(each[key]) for each in settings)]
    varied = [key for key in numbers if len({each[key] for each in settings}) > 1]
    if len(trials) < LEAST_FOR_IMPORTANCE or not varied or len(set(scores)) < 2:
        return {}
    space: dict[str, optuna.distributions.BaseDistribution] = {}
    for key in varied:
        values = [float(each[key]) for each in settings]
        log = min(values) > 0 and max(values) / min(values) > 10
        space[key] = optuna.distributions.FloatDistribution(min(values), max(values), log=log)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    higher = reading.table.higher_is_better
    study = optuna.create_study(direction="maximize" if higher else "minimize")
    for each, score in zip(settings, scores, strict=True):
        study.add_trial(
            optuna.create_trial(
                params={key: float(each[key]) for key in varied}, distributions=space, value=score
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return {key: float(value) for key, value in found.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _importance(important: dict[str, dict[str, float]]) -> Section:
    rows = [
        [arm, key, f"{share:.0%}"]
        for arm, shares in important.items()
        for key, share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    return Section(
        "importance",
        "Which setting mattered in the search",
        "How much the good tenth of the trials differs from all of them in each setting alone "
        "(PED-ANOVA). It describes this search in this range; it is no test.",
        ("system", "setting", "importance"),
        rows,
        {"importance": lambda: _importance_figure(important)},
        {"importance": important},
    )


def _importance_figure(important: dict[str, dict[str, float]]) -> Figure:
    """A bar a setting, a colour a system, the most important on top."""
    from matplotlib.figure import Figure

    from studies.figures import COLOURS

    colours = dict(zip(important, itertools.cycle(COLOURS), strict=False))
    bars = [
        (arm, key, share)
        for arm, shares in reversed(important.items())
        for key, share in sorted(shares.items(), key=lambda item: item[1])
    ]
    drawing = Figure(figsize=(6.4, 1 + 0.34 * len(bars)), layout="constrained")
    axis = drawing.subplots()
    axis.barh(range(len(bars)), [b[2] for b in bars], height=0.6,
              color=[colours[b[0]] for b in bars])  # fmt: skip
    several = len(important) > 1
    axis.set_yticks(range(len(bars)), [f"{a}: {k}" if several else k for a, k, _ in bars])
    axis.set_xlabel("importance, share")
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return drawing


def _front(reading: Reading, trials: Sequence[RunRecord]) -> Section:
    assert isinstance(reading.table, TuningTable)
    metrics, directions = reading.table.metrics, reading.table.directions
    usable = [t for t in trials if t.outcome == "ok" and all(m in t.metrics for m in metrics)]
    values = np.array([[t.metrics[m] for m in metrics] for t in usable]).reshape(-1, len(metrics))
    signed = values * np.where(directions, 1.0, -1.0)
    on_front = np.array(
        [not any(np.all(b >= a) and np.any(b > a) for b in signed) for a in signed], dtype=bool
    )
    rows = [
        [trial.name, *(f"{value:.4f}" for value in row)]
        for trial, row, on in zip(usable, values, on_front, strict=True)
        if on
    ]
    return Section(
        "front",
        "What cannot be had together",
        "The front: trials that no other beats in all objectives, on the tuning seed and the "
        "validation split. One seed each: its exact members would change with another. The line "
        "only joins them; nothing was run between.",
        ("trial", *metrics),
        rows,
        {"front": lambda: _front_figure(values, on_front, metrics, directions)},
        {"front": rows},
    )


def _front_figure(
    values: np.ndarray, on_front: np.ndarray, metrics: Sequence[str], directions: Sequence[bool]
) -> Figure:
    """The first two objectives; the better corner is where both axes say so."""
    from matplotlib.figure import Figure

    from studies.figures import BLUE, GREY

    drawing = Figure(figsize=(5.6, 4.4), layout="constrained")
    axis = drawing.subplots()
    axis.plot(*values[~on_front, :2].T, "o", color=GREY, ms=5, label="trial")
    order = np.argsort(values[on_front, 0])
    axis.plot(*values[on_front, :2][order].T, "D:", color=BLUE, ms=6, lw=1, label="front")
    labels = [f"{metric} ({'higher' if up else 'lower'} is better)"
              for metric, up in zip(metrics, directions, strict=True)]  # fmt: skip
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawing
