"""A study as a pure function from results to runs.

A *kind* of study (one file in `studies/kinds/`; the file name is the kind's name) says which runs
are needed, given the runs that have ended and what the queue says (`Queued`). It keeps no state:
the same results give the same plan. To resume a study, plan again and leave out the runs that
exist. The queue, the workers and the record are the same for all kinds
(`studies/running/execute.py`).
"""

from __future__ import annotations

import importlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from core.config import Config
from core.errors import InputError, listed, nearest
from core.metrics.catalogue import metric_info
from core.tracking.protocol import ENDED, WORST
from studies.adaptive import FIRST, Contrasts, course, results_of
from studies.analysis.contrasts import Effect, row_weights
from studies.analysis.effects import effects_or_pairs
from studies.plan import NO_LIMIT, Done, Job, Key, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.space import Arm, Settings
from studies.table import Contrast, Definition, StudyTable


@dataclass(frozen=True)
class Queued:
    """What the queue of a study says that results do not."""

    running: Collection[Key] = ()  # jobs that a worker runs now
    chosen: Mapping[str, Settings] = field(default_factory=dict)  # of rows with runs: `Tuned`


NOTHING = Queued()


class Kind(ABC):
    """A kind of study. `variants` are the rows that every seed runs."""

    Table: ClassVar[type[StudyTable]]
    # Keys of every kind that have no effect in this one, and why.
    unused: ClassVar[Sequence[tuple[str, str]]] = ()
    table: Any  # of the class `Table`
    variants: Sequence[Variant] = ()

    @abstractmethod
    def __init__(self, table: Any, definition: Definition) -> None:
        """Check everything that can be checked; InputError names file and key."""

    def check_file(self, where: str) -> None:
        """InputError for a key of the study's file that would have no effect. A study that was
        begun with one stays readable.
        """
        for key, why in self.unused:
            if key in self.table.model_fields_set and getattr(self.table, key):
                raise InputError(f"{where}: study.{key}: {why}; leave it out")

    def whole_systems(self, definition: Definition) -> list[Variant]:
        """The rows of `study.systems`."""
        rows = [system.name for system in self.table.systems]
        return [Variant(r, {}, definition.system(r, self.table).config(), whole=True) for r in rows]

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING) -> Plan:
        """The jobs that these results call for, ended ones included: here the seeds of every
        variant.
        """
        return self.with_seeds(self.variants, done)

    def outdone(
        self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING
    ) -> Sequence[str]:
        """A sentence for each row that keeps its settings although a later trial is better."""
        return ()

    def of_unknown_rows(self, rows: int) -> Plan:
        """The seeds of so many rows that are not known yet; each is compared with the first."""
        if self.table.looks is None:
            return Plan((), later=rows * len(self.table.seed_list()))
        names = [str(row) for row in range(rows)]
        against = [{name: 1.0, names[0]: -1.0} for name in names[1:]]
        return Plan((), later=rows * FIRST, contrasts=Contrasts(against, names))

    def with_seeds(self, rows: Sequence[Variant], done: Sequence[Done]) -> Plan:
        """The seeds of every row, seeds outermost, so that every row has a first run early; with
        adaptive seeds as many as the contrasts of these rows need.
        """
        table, looks = self.table, self.table.looks
        jobs = [
            [Job(row, seed, tested=table.tested) for row in rows] for seed in table.seed_list()
        ]  # by seed, then by row
        if looks is None:
            return Plan(tuple(itertools.chain(*jobs)))
        named, cells = self.contrasts(rows), self.cells(rows)
        contrasts = Contrasts([row_weights(cells, each) for each in named], [*cells])
        titles = [each.title for each in named]
        results = results_of([self._results(row, done) for row in rows], looks)
        if results is None:
            first = itertools.chain(*jobs[:FIRST])
            return Plan(tuple(first), contrasts=contrasts, open=tuple(titles))
        now = course(results, contrasts, looks, ahead=True)
        used = [jobs[s][r] for r, of in enumerate(now.used[0]) for s in range(of)]
        ahead = tuple(jobs[seed][row] for row, seed in now.ahead)
        is_open = tuple(itertools.compress(titles, now.open[0]))
        return Plan(tuple(used), ahead=ahead, contrasts=contrasts, open=is_open)

    @staticmethod
    def cells(rows: Sequence[Variant]) -> dict[str, Mapping[str, str]]:
        """Levels of the rows on the axes of the study."""
        return {row.name: {} if row.whole else row.values for row in rows}

    def _results(self, row: Variant, done: Sequence[Done]) -> dict[int, tuple[float, bool]]:
        """Seed -> score and whether the run failed, as in the leaderboard; NaN if it broke."""
        found, worst = {}, metric_info(self.table.metric).worst
        for each in (each for each in done if each.variant == row.name):
            score = each.scores.get(self.table.ranked_by)
            if each.outcome not in ENDED:
                found[each.seed] = math.nan, False
            elif score is not None and math.isfinite(score):
                found[each.seed] = score, each.outcome in WORST
            else:
                found[each.seed] = math.nan if worst is None else worst, True
        return found

    def contrasts(self, rows: Sequence[Variant]) -> Sequence[Contrast]:
        """What adaptive seeds settle: the contrasts that the study names or, without any, each row
        against the first.
        """
        names = {row.name for row in rows}
        named = [each for each in self.table.contrasts if {each.level, each.reference} <= names]
        against = [Contrast(level=row.name, reference=rows[0].name) for row in rows[1:]]
        return named if self.table.contrasts else against

    def forks(self) -> Iterable[tuple[Config, Config]]:
        """Pairs of configurations, of which the first starts from a state of the second."""
        return ()

    def arms(self) -> Sequence[Arm]:
        """The searches for settings; none if all settings are given."""
        return ()

    @abstractmethod
    def describe(self) -> str:
        """What the study compares, in Markdown, for its page."""

    @staticmethod
    def effects(reading: Reading) -> Sequence[Effect]:
        """The contrasts of the report and of `--json`."""
        return effects_or_pairs(reading.board, reading.table.contrasts)

    @staticmethod
    @abstractmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """Sections of the kind's report in addition to the leaderboard, from the store alone."""


class OnCorpora(Kind):
    """A study on several corpora, each of which has a study of its own: it has no runs itself."""

    def __init__(self, kind: Kind) -> None:
        self.table, self.variants, self.kind = kind.table, [], kind

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT, queued: Queued = NOTHING) -> Plan:
        """No jobs, and the study of each corpus to come."""
        return Plan((), later=len(self.table.corpora))

    def describe(self) -> str:
        """What is compared, and on what."""
        corpora = ", ".join(f"`{corpus.name}`" for corpus in self.table.corpora)
        return f"{self.kind.describe()}\n\nOn each of the corpora {corpora}."

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """None of its own."""
        return iter(())


def kinds() -> list[str]:
    """Names of all kinds, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem[0] != "_")


def keys_of(kind: type[Kind]) -> set[str]:
    """The keys of `[study]` in a file of this kind."""
    return {info.alias or name for name, info in kind.Table.model_fields.items()}


def find_kind(name: object) -> type[Kind]:
    """The class of a kind; InputError with the nearest name when there is none."""
    if not isinstance(name, str) or name not in kinds():
        raise InputError(f"no kind {name!r}{nearest(str(name), kinds())}")
    module = importlib.import_module(f"{__name__}.{name}")
    found: type[Kind] = getattr(module, name.title().replace("_", ""))
    return found


def check_contrasts(
    contrasts: Sequence[Contrast],
    axes: Mapping[str, Mapping[str, Any]],
    rows: Sequence[str],
    where: str,
) -> None:
    """InputError for a contrast of an axis, a level or a row that does not exist."""
    for contrast in contrasts:
        axis = contrast.axis
        if axis is not None and axis not in axes:
            raise InputError(f"{where}: study.contrasts: no axis {axis!r}{nearest(axis, axes)}")
        known = list(axes[axis]) if axis is not None else rows
        for name in (contrast.level, contrast.reference):
            if name not in known:
                raise InputError(
                    f"{where}: study.contrasts: no {'level' if axis else 'variant'} {name!r}; "
                    f"known: {listed(known)}"
                )
