"""What each metric sees: doses of known faults against the scatter of the metric on real text.

The test of a metric at N sentences: R fresh real samples, all against the same references, give its
null distribution. A sample is *seen* as faulty if its value is worse than all but 5% of these (for
metrics that are best near real text: outside all but 2.5% on either side). The critical values are
order statistics, so with exchangeable samples false alarms are at most 5% on average over the R
samples, whatever the distribution; `false_alarms` counts them on other real samples.

For each fault the laboratory looks for the smallest of DOSES that K repeats see with power .8, by
bisection, and stops repeating as soon as the result is certain. Repeat k draws the same sentences
at every dose. The power at one dose has the standard error sqrt(.16 / K) near .8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.metrics.catalogue import CATALOGUE, GROUPS, Direction, names_of
from core.metrics.fault_sources import Source
from core.metrics.faults import FAULTS, Fault, planted
from core.metrics.ngrams import Text
from core.metrics.suite import Suite
from core.seeding import derive

LEVEL, POWER = 0.05, 0.8
FEWEST = 20  # sentences of a sample
DOSES = (1.0, 0.68, 0.46, 0.32, 0.22, 0.15, 0.1, 0.068, 0.046, 0.032, 0.022, 0.015, 0.01,
         0.0068, 0.0046, 0.0032, 0.0022, 0.0015, 0.001)  # fmt: skip
SHOWN = 0.1  # dose that bisection begins with, and whose power is shown
FLAT = 4.0  # standard errors of a change of the mean that is no change
Values = dict[str, float | None]
Score = Callable[[Text, Sequence[str]], Values]  # a text and groups of metrics


@dataclass(frozen=True)
class Effort:
    """How many samples are drawn."""

    null: int  # R
    fresh: int  # for the false alarms
    repeats: int  # K


LARGE, COSTLY = 3000, ("jsd_bound",)  # sentences and groups that get less
CHEAP, DEAR, DEAREST = Effort(99, 100, 10), Effort(39, 40, 3), Effort(19, 10, 2)


def effort_of(group: str, n: int) -> Effort:
    """How many samples a group of metrics gets at n sentences."""
    return DEAREST if group in COSTLY else DEAR if n > LARGE else CHEAP


@dataclass(frozen=True)
class Null:
    """A metric on real text."""

    mean: float
    sd: float
    low: float | None  # values below it are seen as faulty
    high: float | None  # and values above it
    effort: Effort
    false_alarms: float = 0.0  # share of fresh real samples that are seen as faulty
    version: int = 1  # of the metric's definition

    def sees(self, value: float | None) -> bool:
        """Whether a sample is seen as faulty; an undefined value is."""
        if value is None:
            return True
        below = self.low is not None and value < self.low
        return below or (self.high is not None and value > self.high)


@dataclass(frozen=True)
class Seen:
    """What a metric sees of a fault."""

    smallest: float | None  # dose; None if not even dose 1 is seen with power .8
    power: float  # at dose SHOWN
    trend: str  # of the mean value as the dose grows: rises, falls, flat or mixed


@dataclass
class Sheet:
    """What is known of metrics on one text at one number of sentences."""

    real: dict[str, Null] = field(default_factory=dict)  # by metric
    faults: dict[str, dict[str, Seen]] = field(default_factory=dict)  # by fault, then metric


@dataclass
class TextTable:
    """The laboratory's results on one text."""

    about: str
    sheets: dict[int, Sheet] = field(default_factory=dict)  # by number of sentences
    # By fault, the divergence in bits that each of DOSES plants, where it is known.
    planted: dict[str, list[float | None]] = field(default_factory=dict)


Table = dict[str, TextTable]  # by text


def null_of(
    values: Sequence[float], fresh: Sequence[float], direction: Direction, repeats: int
) -> Null:
    """Critical values from the metric of real samples (R,), false alarms from others. ValueError
    if R is too small for LEVEL.
    """
    ordered = np.sort(values)
    sides = 2 if direction == "near" else 1
    k = math.floor(LEVEL * (len(values) + 1) / sides)
    if k < 1:
        raise ValueError(f"{len(values)} real samples are too few for a test at {LEVEL:.0%}")
    low = None if direction == "lower" else float(ordered[k - 1])
    high = None if direction == "higher" else float(ordered[-k])
    effort = Effort(len(values), len(fresh), repeats)
    found = Null(float(np.mean(values)), float(np.std(values, ddof=1)), low, high, effort)
    return replace(found, false_alarms=float(np.mean([found.sees(value) for value in fresh])))


class Laboratory:
    """Groups of metrics on one source at n sentences."""

    def __init__(
        self,
        source: Source,
        n: int,
        efforts: Mapping[str, Effort],
        score: Score,
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.source, self.n, self._score = source, n, score
        found: dict[str, list[Values]] = {}
        for stream in ("null", "fresh"):
            counts = {group: getattr(effort, stream) for group, effort in efforts.items()}
            for i in range(most := max(counts.values())):
                step(i, most)
                groups = [group for group, samples in counts.items() if i < samples]
                found.setdefault(stream, []).append(score(self.real(stream, i), groups))
        self.nulls: dict[str, Null] = {}
        for name in (name for group in efforts for name in names_of(group)):
            columns = [[each[name] for each in found[s] if name in each] for s in found]
            values, fresh = ([v for v in column if v is not None] for column in columns)
            if [len(values), len(fresh)] == [*map(len, columns)]:  # else undefined on real text
                info = CATALOGUE[name]
                null = null_of(values, fresh, info.direction, efforts[info.group].repeats)
                self.nulls[name] = replace(null, version=GROUPS[info.group].version)

    def real(self, stream: str, number: int) -> Text:
        """A sample of n real sentences."""
        rng = np.random.default_rng(derive(number, f"{stream} {self.n}"))
        return self.source.real.draw(self.n, rng)

    def try_fault(self, fault: Fault) -> dict[str, Seen]:
        """What each metric that real text defines sees."""
        trial = _Trial(self, fault, self._score)
        return {name: trial.seen(name) for name in self.nulls}


class _Trial:
    """A fault: texts and values at the doses and repeats that a metric needs, computed once."""

    def __init__(self, laboratory: Laboratory, fault: Fault, score: Score) -> None:
        self._laboratory, self._fault, self._score = laboratory, fault, score
        self._texts: dict[tuple[float, int], Text] = {}
        self._values: dict[tuple[str, float], list[Values]] = {}  # of the first repeats

    def _text(self, dose: float, repeat: int) -> Text:
        if (dose, repeat) not in self._texts:
            lab = self._laboratory
            real, seed = lab.real("faulty", repeat), derive(repeat, "fault")
            self._texts[dose, repeat] = self._fault(real, dose, lab.source, seed)
        return self._texts[dose, repeat]

    def _value(self, name: str, dose: float, repeat: int) -> float | None:
        group = CATALOGUE[name].group
        known = self._values.setdefault((group, dose), [])
        while len(known) <= repeat:
            known.append(self._score(self._text(dose, len(known)), [group]))
        return known[repeat][name]

    def seen(self, name: str) -> Seen:
        """What one metric sees."""
        null = self._laboratory.nulls[name]
        repeats = null.effort.repeats
        needed = math.ceil(POWER * repeats)

        def enough(dose: float) -> bool:
            hits = 0
            for repeat in range(repeats):
                hits += null.sees(self._value(name, dose, repeat))
                if hits >= needed or hits + repeats - repeat - 1 < needed:
                    break
            return hits >= needed

        power = np.mean([null.sees(self._value(name, SHOWN, repeat)) for repeat in range(repeats)])
        first, last = DOSES.index(SHOWN), len(DOSES)  # the second place is beyond the last
        if not enough(SHOWN):
            first, last = 0, first
        smallest = None
        if enough(DOSES[first]):
            while last - first > 1:
                middle = (first + last) // 2
                first, last = (middle, last) if enough(DOSES[middle]) else (first, middle)
            smallest = DOSES[first]
        return Seen(smallest, float(power), self._trend(name, null))

    def _trend(self, name: str, null: Null) -> str:
        """Whether the mean value changes one way over the doses; doses with one repeat, and
        undefined values, are left out.
        """
        means, errors = [null.mean], [null.sd / math.sqrt(null.effort.null)]
        group = CATALOGUE[name].group
        for dose in sorted(dose for each, dose in self._values if each == group):
            found = self._values[group, dose]
            values = [value for each in found if (value := each[name]) is not None]
            if len(values) > 1:
                means.append(float(np.mean(values)))
                sd = max(float(np.std(values, ddof=1)), null.sd)
                errors.append(sd / math.sqrt(len(values)))
        ways = {
            math.copysign(1, means[j] - means[i])
            for i in range(len(means))
            for j in range(i + 1, len(means))
            if abs(means[j] - means[i]) > FLAT * math.hypot(errors[i], errors[j]) + 1e-12
        }
        if len(ways) == 1:
            return "rises" if 1 in ways else "falls"
        return "mixed" if ways else "flat"


def measure(
    table: TextTable,
    source: Source,
    n: int,
    groups: Sequence[str],
    faults: Sequence[str],
    step: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Add what the groups see of the faults in n sentences of the source to its table. `step` is
    called before each real sample and after each fault.
    """
    efforts = {group: effort_of(group, n) for group in groups}
    suite = Suite(source.references(n), source.training, source.oracle)

    def score(text: Text, chosen: Sequence[str]) -> Values:
        return {name: found.value for name, found in suite.measures(text, chosen).items()}

    lab = Laboratory(source, n, efforts, score, lambda i, most: step("real text", i, most))
    sheet = table.sheets.setdefault(n, Sheet())
    sheet.real |= lab.nulls
    for done, name in enumerate(faults if lab.nulls else (), start=1):
        if name not in table.planted:
            table.planted[name] = planted(FAULTS[name], DOSES, source)
        sheet.faults.setdefault(name, {}).update(lab.try_fault(FAULTS[name]))
        step(name, done, len(faults))


def drift(table: TextTable, metric: str) -> float | None:
    """How a metric of real text depends on N: its mean at the largest N minus that at the smallest,
    in standard deviations of the smallest; None of one N, or without scatter.
    """
    sheets = [table.sheets[n] for n in sorted(table.sheets)]
    found = [sheet.real[metric] for sheet in sheets if metric in sheet.real]
    if len(found) < 2 or found[0].sd == 0:
        return None
    return (found[-1].mean - found[0].mean) / found[0].sd
