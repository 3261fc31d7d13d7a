"""Human ratings of a study's sentences: the questions, the agreement of raters, the correlation
with metrics, and the sections of the report.

A comparison shows two sentences, blind and in random order, and asks which is better; one is of a
variant, the other of another variant or real text. All raters are asked the same comparisons (the
study's own, by their number), each in an order and on sides of their own, so that they can agree or
not. A variant's preference is the share of its comparisons that it won, ties half.

Agreement is Krippendorff's (2011) alpha for nominal answers, 1 - D_observed / D_expected over pairs
of answers to the same comparison: 1 is perfect, 0 is chance; and Cohen's (1960) kappa, its mean
over the pairs of raters (Light 1971), where chance is each rater's own habit. An answer is the
first source, the second, or neither: were it the name of a source, raters who toss a coin would
seem to agree, the more the more variants there are, as nobody can name one that is not shown.
Intervals are over comparisons, since raters share them. Fleiss' kappa wants as many answers to
every comparison; there it is alpha but for a term in 1 / answers.

A metric agrees with people if it ranks the variants as they do: Spearman's correlation over
variants, with p adjusted for the number of metrics (Holm), because the best of thirty looks good by
chance.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, cycle, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from core.errors import InputError, listed
from core.files import read_bounded
from core.metrics.catalogue import metric_info
from core.plural import count
from core.statistics import LEVEL, TAIL, Interval, holm, share
from core.tracking.journal import cut_unfinished_line
from core.tracking.protocol import ENDED, RunRecord, Tracker, study_run
from studies.figures import BLUE, GREY, forest
from studies.leaderboard import rng_of, seed_runs
from studies.sections import Reading, Section, bracket, means, names, number, p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLES = 2000
REAL = "real text"
TIE = "tie"
FOLDER = "ratings"  # next to the store
OLD_FOLDER = "judgements"  # of earlier versions; only read
SIDES = ("first", "second", TIE)
LARGEST = 100_000_000  # bytes of a study's answers
EXACT = 8  # variants up to which p of a rank correlation is that of all their orders


@dataclass(frozen=True)
class SentencePair:
    """Two sentences and where they come from."""

    number: int
    first: str
    second: str
    first_source: str
    second_source: str


@dataclass(frozen=True)
class Answer:
    """What a rater said of one comparison: the source preferred, or TIE."""

    study: str
    kind: str
    rater: str
    number: int
    first_source: str
    second_source: str
    preferred: str


ANSWER = TypeAdapter(Answer)


def comparisons(
    study: str, kind: str, sentences: Mapping[str, Sequence[str]], count: int
) -> list[SentencePair]:
    """The study's comparisons, the same for every rater; `kind` "better" or "real".

    "better" pairs variants evenly; "real" pairs each variant with REAL, which must be among the
    sources. Sentences are drawn without repetition while there are enough.
    """
    rng = rng_of(f"{study}/{kind}")
    variants = sorted(name for name in sentences if name != REAL and sentences[name])
    if kind == "real":
        pairs = [(name, REAL) for name in variants]
    else:
        pairs = list(combinations(variants, 2))
    if not pairs or (kind == "real" and not sentences.get(REAL)):
        raise InputError(
            f"study {study!r} has too few sources of sentences to compare: "
            f"{listed(sorted(sentences), 'none')}"
        )
    drawn = {
        name: cycle([text[i] for i in rng.permutation(len(text))])
        for name, text in sentences.items()
    }
    order = [pairs[i] for _ in range(count // len(pairs) + 1) for i in rng.permutation(len(pairs))]
    return [
        SentencePair(place, next(drawn[a]), next(drawn[b]), a, b)
        for place, (a, b) in enumerate(order[:count])
    ]


def session(made: Sequence[SentencePair], rater: str) -> list[tuple[SentencePair, bool]]:
    """The comparisons in a rater's own order, each with whether its sides are swapped."""
    rng = rng_of(rater)
    order = rng.permutation(len(made))
    swapped = rng.integers(0, 2, len(made)).astype(bool)
    return [(made[i], bool(swapped[i])) for i in order]


def keep(store_dir: Path, answer: Answer) -> None:
    """Append an answer to the study's file next to the store."""
    file = file_of(store_dir, answer.study)
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_unfinished_line(file)
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")


def answers(store_dir: Path, study: str) -> list[Answer]:
    """All answers so far, the last of each rater to each comparison; InputError for a file that
    holds anything else. A last line that a kill cut short is none.
    """
    latest = {}
    for folder in (OLD_FOLDER, FOLDER):
        file = file_of(store_dir, study, folder)
        whole, _, _ = read_bounded(file, LARGEST).rpartition("\n") if file.exists() else ("",) * 3
        for place, line in enumerate(whole.split("\n") if whole else [], 1):
            try:
                answer = ANSWER.validate_json(line)
            except ValidationError:
                raise InputError(f"{file}, line {place}: not an answer; remove the line") from None
            if answer.study == study:
                latest[answer.kind, answer.rater, answer.number] = answer
    return list(latest.values())


def file_of(store_dir: Path, study: str, folder: str = FOLDER) -> Path:
    """Where a study's answers are kept."""
    return store_dir / folder / f"{zlib.crc32(study.encode()):08x}.jsonl"


def krippendorff(ratings: Iterable[Sequence[str]]) -> float | None:
    """Alpha for nominal answers, of units that are each a list of answers; None without variety."""
    coincidences = _coincidences(ratings)
    return _alpha(coincidences.sum(axis=0)) if len(coincidences) else None


def agreement(given: Sequence[Answer]) -> Interval | None:
    """Krippendorff's alpha with its 95% interval, over comparisons; None below two raters."""
    units: dict[tuple[str, int], list[str]] = {}
    for answer in given:
        units.setdefault((answer.kind, answer.number), []).append(_side(answer))
    value, counted = krippendorff(units.values()), _coincidences(units.values())
    if value is None:
        return None
    rng = np.random.default_rng(0)
    drawn = [
        _alpha(counted[rng.integers(0, len(counted), len(counted))].sum(axis=0))
        for _ in range(RESAMPLES)
    ]
    return _bracketed(value, [one for one in drawn if one is not None])


def _coincidences(ratings: Iterable[Sequence[str]]) -> np.ndarray:
    """Of each unit of several answers its coincidence matrix, (units, answers, answers)."""
    units = [unit for unit in ratings if len(unit) >= 2]
    kinds = sorted({answer for unit in units for answer in unit})
    found = np.zeros((len(units), len(kinds), len(kinds)))
    for i, unit in enumerate(units):
        times = np.array([list(unit).count(kind) for kind in kinds], dtype=float)
        found[i] = (np.outer(times, times) - np.diag(times)) / (len(unit) - 1)
    return found


def _alpha(coincidences: np.ndarray) -> float | None:
    total = coincidences.sum()
    expected = total**2 - (coincidences.sum(axis=1) ** 2).sum()
    observed = total - np.trace(coincidences)
    return float(1 - (total - 1) * observed / expected) if expected > 0 else None


def cohen(given: Sequence[Answer]) -> Interval | None:
    """Cohen's kappa, its mean over pairs of raters, with its 95% interval, over comparisons; None
    where no two raters share comparisons, or where all that they share they answer alike.
    """
    rows = [(each.kind, each.number, each.rater, _side(each)) for each in given]
    frame = pd.DataFrame(rows, columns=["kind", "number", "rater", "side"])
    said = frame.pivot(index=["kind", "number"], columns="rater", values="side")
    sides = [said[[rater]].to_numpy() == np.array(SIDES) for rater in said]  # each (units, K)
    pairs = list(combinations(sides, 2))
    tables = np.array([one[:, :, None] & other[:, None, :] for one, other in pairs], dtype=float)
    value = _kappa(tables.sum(axis=1)[None])[0] if pairs else np.nan
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(said), np.full(len(said), 1 / len(said)), RESAMPLES)
    drawn = _kappa(np.einsum("ru,puij->rpij", times.astype(float), tables))
    return _bracketed(float(value), drawn[np.isfinite(drawn)])


def _kappa(tables: np.ndarray) -> np.ndarray:
    """Mean over pairs of 1 - (1 - p_observed) / (1 - p_chance): tables (..., pairs, K, K) of the
    answers of two raters to (...,); NaN where no pair has one.
    """
    total = tables.sum(axis=(-2, -1))
    observed = total - np.trace(tables, axis1=-2, axis2=-1)
    rows, columns = tables.sum(axis=-1), tables.sum(axis=-2)
    chance = total**2 - (rows * columns).sum(axis=-1)
    defined = chance > 0
    ratio = np.divide(observed * total, chance, out=np.zeros_like(total), where=defined)
    pairs = defined.sum(axis=-1)
    kappas = np.where(defined, 1 - ratio, 0.0).sum(axis=-1)
    mean: np.ndarray = np.divide(kappas, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return mean


def _side(answer: Answer) -> str:
    """Which of SIDES an answer is."""
    if answer.preferred == TIE:
        return TIE
    return SIDES[0] if answer.preferred == answer.first_source else SIDES[1]


def _bracketed(value: float, drawn: Sequence[float] | np.ndarray) -> Interval:
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    return Interval(value, float(low), float(high))


def preferences(given: Sequence[Answer]) -> dict[str, Interval]:
    """Source -> share of its comparisons that it won, ties half, with Jeffreys' 95% interval over
    comparisons: a bootstrap of a few that it won all would be certain.
    """
    rows = [
        (source, each.kind, each.number,
         0.5 if each.preferred == TIE else float(each.preferred == source))
        for each in given
        for source in (each.first_source, each.second_source)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["source", "kind", "number", "won"])
    won = frame.groupby(["source", "kind", "number"], sort=False)["won"].mean()
    found = {}
    for source in frame["source"].unique():
        shares = won[source].to_numpy()
        ends = share(shares.sum(), (1 - shares).sum())
        found[source] = Interval(*map(float, ends))
    return found


def correlations(
    preferred: Mapping[str, float], metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[float, float, int]]:
    """Metric -> (Spearman's rho with the preference over variants, p, variants), of three or more.

    `metrics` is variant -> metric -> value. With few variants rho says little: read p.
    """
    people, frame = pd.Series(preferred), pd.DataFrame(dict(metrics)).T
    found = {}
    for name in sorted(map(str, frame)):
        both = pd.concat([people, frame[name]], axis=1).dropna()
        if len(both) >= 3 and (both.nunique() > 1).all():
            from scipy import stats  # half a second, and most studies have no answers

            x, y = stats.rankdata(both.iloc[:, 0]), stats.rankdata(both.iloc[:, 1])
            related = stats.spearmanr(x, y)
            p = _exact_p(x, y) if len(both) <= EXACT else float(related.pvalue)
            found[name] = (float(related.statistic), p, len(both))
    return found


def _exact_p(x: np.ndarray, y: np.ndarray) -> float:
    """Share of all orders of the ranks y (n,) that correlate with the ranks x at least as much as
    y does, with either sign. Student's approximation has p = 0 for perfect agreement of any n.
    """
    products = np.array(list(permutations(y - y.mean()))) @ (x - x.mean())  # (n!,)
    seen = abs(float((x - x.mean()) @ (y - y.mean())))
    return float(np.mean(np.abs(products) >= seen - 1e-9))


def results(tracker: Tracker, study: str) -> dict[str, Any]:
    """The answers of all raters: preferences, agreement, correlation with the metrics."""
    parent = study_run(tracker, study)
    given = answers(tracker.store_dir, parent.study)
    preferred = preferences(given)
    runs: dict[str, list[RunRecord]] = {}
    for run in seed_runs(tracker, parent.experiment):
        if run.outcome in ENDED:
            runs.setdefault(run.variant, []).append(run)
    metrics = {variant: means(each, "eval/") for variant, each in runs.items()}
    related = correlations({name: one.value for name, one in preferred.items()}, metrics)
    adjusted = holm([p for _, p, _ in related.values()]) if related else []
    return {
        "study": study,
        "answers": len(given),
        "raters": sorted({answer.rater for answer in given}),
        "preferred": {
            name: asdict(one)
            for name, one in sorted(preferred.items(), key=lambda item: -item[1].value)
        },
        "agreement": asdict(agreed) if (agreed := agreement(given)) else None,
        "kappa": asdict(kappa) if (kappa := cohen(given)) else None,
        "correlations": {
            name: {"rho": rho, "p": p, "p_adjusted": q, "variants": n}
            for (name, (rho, p, n)), q in zip(related.items(), adjusted, strict=True)
        },
    }


def people(reading: Reading) -> Iterator[Section]:
    """Preferences, and metrics that agree with them; none if nobody was asked."""
    return sections_of(results(reading.tracker, reading.board.study))


def sections_of(found: dict[str, Any]) -> Iterator[Section]:
    """The same of `results`."""
    if found["answers"]:
        yield _preferences(found)
    if found["correlations"]:
        yield _metrics(found)


def _preferences(found: dict[str, Any]) -> Section:
    agreed = "unknown: it needs two raters of the same comparisons, and different answers"
    if found["agreement"]:
        alpha = " ".join(_cells(found["agreement"]))
        kappa = " ".join(_cells(found["kappa"])) if found["kappa"] else "undefined"
        agreed = (
            f"Krippendorff's alpha {alpha}, Cohen's kappa (mean over pairs of raters) {kappa}; "
            f"0: chance, 1: perfect"
        )
    preferred = found["preferred"]
    above = [name for name, one in preferred.items() if one["low"] > 0.5]
    return Section(
        "people",
        ["source", "preferred", "95% interval"],
        [[name, *_cells(one)] for name, one in preferred.items()],
        {"preferences": lambda: preferences_figure(preferred)},
        [f"People prefer the sentences of {names(above)}."] if above else [],
        {"answers": count(found["answers"], "answer"), "agreement": agreed,
         "raters": count(len(found["raters"]), "rater")},
    )  # fmt: skip


def _cells(found: Mapping[str, float]) -> list[str]:
    return [number(found["value"]), bracket(found["low"], found["high"])]


def preferences_figure(preferred: Mapping[str, Mapping[str, float]]) -> Figure:
    """The preference for each source with its interval, those that exclude one half in blue."""
    ends = [(one["low"], one["high"]) for one in preferred.values()]
    colours = [BLUE if low > 0.5 or high < 0.5 else GREY for low, high in ends]
    values = [one["value"] for one in preferred.values()]
    drawing, axis = forest(list(preferred), values, ends, colours)
    axis.axvline(0.5, color=GREY, lw=1, zorder=1)
    axis.set_xlim(0, 1)
    axis.set_xlabel("preferred, share of comparisons, with 95% intervals")
    return drawing


def _ranks_as_people(metric: str, rho: float) -> bool:
    """Whether the correlation has the sign of the metric's direction."""
    return {"higher": rho > 0, "lower": rho < 0}.get(metric_info(metric).direction, False)


def _metrics(found: dict[str, Any]) -> Section:
    related = sorted(found["correlations"].items(), key=lambda item: -abs(item[1]["rho"]))
    most = max(one["variants"] for _, one in related)
    least = 2 / math.factorial(most) * len(related)  # adjusted p of perfect agreement
    few = f" With {count(most, 'variant')} no correlation can be significant."
    sure = [name for name, one in related if one["p_adjusted"] <= LEVEL]
    agree = [name for name in sure if _ranks_as_people(name, found["correlations"][name]["rho"])]
    return Section(
        "people_metrics",
        ["metric", "rho", "p", "p adjusted", "variants"],
        [[name, f"{one['rho']:+.2f}", p_value(one["p"]), p_value(one["p_adjusted"]),
          str(one["variants"])] for name, one in related],
        findings=[f"Metrics that rank as people do: {names(agree)}."] if agree else [],
        values={"few": few if least > LEVEL else ""},
    )  # fmt: skip
