"""Human judgement of a study's sentences: what is asked, how raters agree, what it says of metrics.

A comparison shows two sentences, blind and in random order, and asks which is better; one is of a
variant, the other of another variant or real text. All raters are asked the same comparisons (the
study's own, by their number), each in an order and on sides of their own, so that they can agree or
not. A variant's preference is the share of its comparisons that it won, ties half.

Agreement is Krippendorff's (2011) alpha for nominal answers, 1 - D_observed / D_expected over pairs
of answers to the same comparison: 1 is perfect, 0 is chance; and Cohen's (1960) kappa, its mean
over the pairs of raters (Light 1971), where chance is each rater's own habit. An answer is the
first source, the second, or neither: were it the name of a source, raters who toss a coin would
seem to agree, the more the more variants there are, as nobody can name one that is not shown.
Intervals are bootstraps over comparisons, since raters share them. Fleiss' kappa wants as many
answers to every comparison; there it is alpha but for a term in 1 / answers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from core.errors import InputError
from core.files import read_bounded
from core.statistics import Interval
from core.tracking.journal import cut_unfinished_line

RESAMPLES = 2000
REAL = "real text"
TIE = "tie"
SIDES = ("first", "second", TIE)
LARGEST = 100_000_000  # bytes of a study's answers


@dataclass(frozen=True)
class Comparison:
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
) -> list[Comparison]:
    """The study's comparisons, the same for every rater; `kind` "better" or "real".

    "better" pairs variants evenly; "real" pairs each variant with REAL, which must be among the
    sources. Sentences are drawn without repetition while there are enough.
    """
    rng = np.random.default_rng(zlib.crc32(f"{study}/{kind}".encode()))
    variants = sorted(name for name in sentences if name != REAL and sentences[name])
    if kind == "real":
        pairs = [(name, REAL) for name in variants]
    else:
        pairs = [(a, b) for i, a in enumerate(variants) for b in variants[i + 1 :]]
    if not pairs or (kind == "real" and not sentences.get(REAL)):
        raise InputError(
            f"study {study!r} has too few sources of sentences to compare: "
            f"{', '.join(sorted(sentences)) or 'none'}"
        )
    drawn = {name: list(rng.permutation(len(text))) for name, text in sentences.items()}
    taken = dict.fromkeys(sentences, 0)
    order = [pairs[i] for _ in range(count // len(pairs) + 1) for i in rng.permutation(len(pairs))]
    made = []
    for number, (a, b) in enumerate(order[:count]):
        texts = []
        for name in (a, b):
            texts.append(sentences[name][drawn[name][taken[name] % len(drawn[name])]])
            taken[name] += 1
        made.append(Comparison(number, texts[0], texts[1], a, b))
    return made


def session(made: Sequence[Comparison], rater: str) -> list[tuple[Comparison, bool]]:
    """The comparisons in a rater's own order, each with whether its sides are swapped."""
    rng = np.random.default_rng(zlib.crc32(rater.encode()))
    order = rng.permutation(len(made))
    swapped = rng.integers(0, 2, len(made)).astype(bool)
    return [(made[i], bool(swapped[i])) for i in order]


def keep(store_dir: Path, answer: Answer) -> None:
    """Append an answer to the study's file beside the store."""
    file = file_of(store_dir, answer.study)
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_unfinished_line(file)
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")


def answers(store_dir: Path, study: str) -> list[Answer]:
    """All answers so far, the last of each rater to each comparison; InputError for a file that
    holds anything else. A last line that a kill cut short is none.
    """
    file = file_of(store_dir, study)
    if not file.exists():
        return []
    whole, _, _ = read_bounded(file, LARGEST).rpartition("\n")
    latest = {}
    for number, line in enumerate(whole.split("\n") if whole else [], 1):
        try:
            answer = ANSWER.validate_json(line)
        except ValidationError:
            raise InputError(f"{file}, line {number}: not an answer; remove the line") from None
        latest[answer.kind, answer.rater, answer.number] = answer
    return list(latest.values())


def file_of(store_dir: Path, study: str) -> Path:
    """Where a study's answers are kept."""
    return store_dir / "judgements" / f"{zlib.crc32(study.encode()):08x}.jsonl"


def krippendorff(ratings: Iterable[Sequence[str]]) -> float | None:
    """Alpha for nominal answers, of units that are each a list of answers; None without variety."""
    units = [list(unit) for unit in ratings if len(unit) >= 2]
    return _alpha(_coincidences(units).sum(axis=0)) if units else None


def agreement(given: Sequence[Answer]) -> Interval | None:
    """Krippendorff's alpha with its 95% interval, over comparisons; None below two raters."""
    units: dict[tuple[str, int], list[str]] = {}
    for answer in given:
        units.setdefault((answer.kind, answer.number), []).append(_side(answer))
    rated = [unit for unit in units.values() if len(unit) >= 2]
    value = krippendorff(rated)
    if value is None:
        return None
    counted = _coincidences(rated)
    rng = np.random.default_rng(0)
    drawn = [
        _alpha(counted[rng.integers(0, len(counted), len(counted))].sum(axis=0))
        for _ in range(RESAMPLES)
    ]
    return _bracketed(value, [one for one in drawn if one is not None])


def cohen(given: Sequence[Answer]) -> Interval | None:
    """Cohen's kappa, its mean over pairs of raters, with its 95% interval, over comparisons; None
    where no two raters share comparisons, or where all that they share they answer alike.
    """
    said: dict[str, dict[tuple[str, int], int]] = {}
    for answer in given:
        at = said.setdefault(answer.rater, {})
        at[answer.kind, answer.number] = SIDES.index(_side(answer))
    units = sorted({unit for of_rater in said.values() for unit in of_rater})
    pairs = list(combinations(said.values(), 2))
    tables = np.zeros((len(pairs), len(units), len(SIDES), len(SIDES)))
    for pair, (one, other) in enumerate(pairs):
        for place, unit in enumerate(units):
            if unit in one and unit in other:
                tables[pair, place, one[unit], other[unit]] = 1
    value = _kappa(tables.sum(axis=1)[None])[0] if pairs else np.nan
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), RESAMPLES)
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
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def preferences(given: Sequence[Answer]) -> dict[str, Interval]:
    """Source -> share of its comparisons that it won, ties half; 95% bootstrap over comparisons."""
    wins: dict[str, dict[tuple[str, int], list[float]]] = {}
    for answer in given:
        for source in (answer.first_source, answer.second_source):
            score = 0.5 if answer.preferred == TIE else float(answer.preferred == source)
            asked = wins.setdefault(source, {})
            asked.setdefault((answer.kind, answer.number), []).append(score)
    found = {}
    for source, asked in wins.items():
        means = np.array([np.mean(scores) for scores in asked.values()])
        rng = np.random.default_rng(zlib.crc32(source.encode()))
        drawn = means[rng.integers(0, len(means), (RESAMPLES, len(means)))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        found[source] = Interval(float(means.mean()), float(low), float(high))
    return found


def correlations(
    preferred: Mapping[str, float], metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[float, float, int]]:
    """Metric -> (Spearman's rho with the preference over variants, p, variants), of three or more.

    `metrics` is variant -> metric -> value. With few variants rho says little: read p.
    """
    names = sorted({name for row in metrics.values() for name in row})
    found = {}
    for name in names:
        both = [
            (preferred[v], row[name])
            for v, row in metrics.items()
            if v in preferred and name in row
        ]
        if len(both) >= 3 and len({b for _, b in both}) > 1 and len({a for a, _ in both}) > 1:
            related = stats.spearmanr([a for a, _ in both], [b for _, b in both])
            found[name] = (float(related.statistic), float(related.pvalue), len(both))
    return found


def _coincidences(units: Sequence[Sequence[str]]) -> np.ndarray:
    """Of each unit its part of the coincidence matrix: (units, answers, answers)."""
    kinds = sorted({answer for unit in units for answer in unit})
    found = np.zeros((len(units), len(kinds), len(kinds)))
    for i, unit in enumerate(units):
        count = np.array([list(unit).count(kind) for kind in kinds], dtype=float)
        found[i] = (np.outer(count, count) - np.diag(count)) / (len(unit) - 1)
    return found


def _alpha(coincidences: np.ndarray) -> float | None:
    total = coincidences.sum()
    each = coincidences.sum(axis=1)
    expected = total**2 - (each**2).sum()
    if expected <= 0:
        return None
    observed = total - np.trace(coincidences)
    return float(1 - (total - 1) * observed / expected)
