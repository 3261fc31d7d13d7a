"""What people said of a study's sentences, and which metrics agree with them.

A preference has its interval and raters their agreement (`studies.judgement`). A metric agrees with
people where it ranks the variants as they do: Spearman's correlation over variants, whose p is
adjusted for the number of metrics looked at (Holm), since the best of thirty would else look good
by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.statistics import Interval, holm
from core.tracking.protocol import ENDED, Tracker
from studies.analysis.wording import bracket, count, names, number
from studies.figures import preference_figure
from studies.judgement import agreement, answers, cohen, correlations, preferences
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SURE = 0.05
FEW = 6  # variants below which no rank correlation can be told from chance


def results(tracker: Tracker, study: str) -> dict[str, Any]:
    """What all raters said: preferences, agreement, correlation with the metrics."""
    given = answers(tracker.store_dir, study)
    preferred = preferences(given)
    metrics: dict[str, dict[str, list[float]]] = {}
    for run in tracker.runs(study, tags={"level": "seed"}):
        if run.outcome in ENDED:
            row = metrics.setdefault(run.tags["variant"], {})
            for name, value in run.metrics.items():
                if name.startswith("eval/"):
                    row.setdefault(name, []).append(value)
    means = {v: {k: sum(x) / len(x) for k, x in row.items()} for v, row in metrics.items()}
    related = correlations({name: one.value for name, one in preferred.items()}, means)
    adjusted = holm([p for _, p, _ in related.values()]) if related else []
    return {
        "study": study,
        "answers": len(given),
        "raters": sorted({answer.rater for answer in given}),
        "preferred": {
            name: _document(one)
            for name, one in sorted(preferred.items(), key=lambda item: -item[1].value)
        },
        "agreement": _document(agreement(given)),
        "kappa": _document(cohen(given)),
        "correlations": {
            name: {"rho": rho, "p": p, "p_adjusted": q, "variants": n}
            for (name, (rho, p, n)), q in zip(related.items(), adjusted, strict=True)
        },
    }


def _document(found: Interval | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high}


def people(reading: Reading) -> list[Section]:
    """Preferences, and metrics beside them; none where nobody was asked."""
    found = results(reading.tracker, reading.board.study)
    if not found["answers"]:
        return []
    sections = [_preferences(found)]
    if found["correlations"]:
        sections.append(_metrics(found))
    return sections


def _preferences(found: dict[str, Any]) -> Section:
    words = (
        f"Krippendorff's alpha {_agreed(found['agreement'])}, Cohen's kappa (mean over pairs of "
        f"raters) {_agreed(found['kappa'])}; 0: chance, 1: perfect"
        if found["agreement"]
        else "unknown: it takes two raters of the same comparisons, and answers that differ"
    )
    preferred = found["preferred"]

    def figure() -> Figure:
        return preference_figure(
            {k: (v["value"], v["low"], v["high"]) for k, v in preferred.items()}
        )

    return Section(
        "people",
        "What people prefer",
        f"Two sentences at a time, blind and in random order: "
        f"{count(found['answers'], 'answer')} of {count(len(found['raters']), 'rater')}. "
        f"*Preferred* is the share of its comparisons that a variant won, ties half; .5 is as "
        f"often as not. The interval is a bootstrap over comparisons. "
        f"Agreement between raters: {words}.",
        ["source", "preferred", "95% interval"],
        [
            [name, number(one["value"]), bracket(one["low"], one["high"])]
            for name, one in preferred.items()
        ],
        {"preferences": figure},
        {key: found[key] for key in ("answers", "raters", "preferred", "agreement", "kappa")},
        _sure(preferred),
    )


def _agreed(found: dict[str, float] | None) -> str:
    if found is None:
        return "undefined"
    return f"{number(found['value'])} {bracket(found['low'], found['high'])}"


def _sure(preferred: dict[str, dict[str, float]]) -> list[str]:
    above = [name for name, one in preferred.items() if one["low"] > 0.5]
    return [f"People prefer the sentences of {names(above)}."] if above else []


def _metrics(found: dict[str, Any]) -> Section:
    related = sorted(found["correlations"].items(), key=lambda item: -abs(item[1]["rho"]))
    most = max(one["variants"] for _, one in related)
    few = (
        f" With {count(most, 'variant')} nothing here can be told from chance."
        if most < FEW
        else ""
    )
    sure = [name for name, one in related if one["p_adjusted"] < SURE]
    return Section(
        "people_metrics",
        "Metrics that agree with people",
        "Spearman's correlation, over variants, of a metric's mean with the preference. A metric "
        "of which lower is better agrees where rho is negative. *p adjusted* is Holm's, "
        f"for as many metrics as stand here.{few}",
        ["metric", "rho", "p", "p adjusted", "variants"],
        [
            [
                name,
                f"{one['rho']:+.2f}",
                number(one["p"]),
                number(one["p_adjusted"]),
                str(one["variants"]),
            ]
            for name, one in related
        ],
        {},
        {"correlations": found["correlations"]},
        [f"Metrics that rank as people do: {names(sure)}."] if sure else [],
    )
