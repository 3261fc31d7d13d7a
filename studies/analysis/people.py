"""Sections on human judgement: preferences, and the metrics that agree with them.

Preferences have intervals, and raters their agreement (`studies.judgement`). A metric agrees with
people if it ranks the variants as they do: Spearman's correlation over variants, with p adjusted
for the number of metrics (Holm), because the best of thirty looks good by chance.
"""

from __future__ import annotations

from typing import Any

from core.statistics import Interval, holm
from core.tracking.protocol import ENDED, Tracker
from studies.analysis.wording import bracket, count, names, number
from studies.figures import BLUE, GREY, forest
from studies.judgement import agreement, answers, cohen, correlations, preferences
from studies.sections import Reading, Section

SIGNIFICANT = 0.05
FEW = 6  # with fewer variants no rank correlation is significant


def results(tracker: Tracker, study: str) -> dict[str, Any]:
    """The answers of all raters: preferences, agreement, correlation with the metrics."""
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
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}


def people(reading: Reading) -> list[Section]:
    """Preferences, and metrics that agree with them; none if nobody was asked."""
    found = results(reading.tracker, reading.board.study)
    if not found["answers"]:
        return []
    return [_preferences(found), *([_metrics(found)] if found["correlations"] else [])]


def _preferences(found: dict[str, Any]) -> Section:
    agreed = "unknown: it needs two raters of the same comparisons, and different answers"
    if found["agreement"]:
        agreed = (
            f"Krippendorff's alpha {_agreed(found['agreement'])}, Cohen's kappa (mean over pairs "
            f"of raters) {_agreed(found['kappa'])}; 0: chance, 1: perfect"
        )
    preferred = found["preferred"]
    ends = [(one["low"], one["high"]) for one in preferred.values()]
    colours = [BLUE if low > 0.5 or high < 0.5 else GREY for low, high in ends]

    def figure() -> Any:
        values = [one["value"] for one in preferred.values()]
        drawing, axis = forest(list(preferred), values, ends, colours)
        axis.axvline(0.5, color=GREY, lw=1, zorder=1)
        axis.set_xlim(0, 1)
        axis.set_xlabel("preferred, share of comparisons, with 95% intervals")
        return drawing

    above = [name for name, one in preferred.items() if one["low"] > 0.5]
    return Section(
        "people",
        ["source", "preferred", "95% interval"],
        [[name, number(one["value"]), bracket(one["low"], one["high"])]
         for name, one in preferred.items()],
        {"preferences": figure},
        [f"People prefer the sentences of {names(above)}."] if above else [],
        {"answers": count(found["answers"], "answer"), "agreement": agreed,
         "raters": count(len(found["raters"]), "rater")},
    )  # fmt: skip


def _agreed(found: dict[str, float] | None) -> str:
    if found is None:
        return "undefined"
    return f"{number(found['value'])} {bracket(found['low'], found['high'])}"


def _metrics(found: dict[str, Any]) -> Section:
    related = sorted(found["correlations"].items(), key=lambda item: -abs(item[1]["rho"]))
    most = max(one["variants"] for _, one in related)
    few = f" With {count(most, 'variant')} no correlation is significant." if most < FEW else ""
    sure = [name for name, one in related if one["p_adjusted"] < SIGNIFICANT]
    return Section(
        "people_metrics",
        ["metric", "rho", "p", "p adjusted", "variants"],
        [[name, f"{one['rho']:+.2f}", number(one["p"]), number(one["p_adjusted"]),
          str(one["variants"])] for name, one in related],
        findings=[f"Metrics that rank as people do: {names(sure)}."] if sure else [],
        values={"few": few},
    )  # fmt: skip
