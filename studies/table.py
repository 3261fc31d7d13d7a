"""The `[study]` table: keys that every kind of study has, and what a study writes into a
configuration: values of axes, shared settings and the budget. Each kind adds keys of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from core.config import Config, ModelConfig, TrainConfig, parse
from core.config.parsing import Tables, assign, checked
from core.config.renamed import previous_key, previous_value, stored_keys
from core.config.schema import Frozen, Rule, Rules
from core.config.slots import SLOTS, Resolver, slot_name
from core.errors import InputError
from core.metrics.catalogue import (
    checkpoint_key,
    metric_info,
    ranking_metric,
    with_curve,
)
from core.plural import count
from core.text.settings import CorpusSettings
from studies.adaptive import FIRST, Looks


class Until(Frozen):
    """Adaptive seeds: as many as the contrasts need."""

    until: Literal["settled"]
    margin: Annotated[float, Field(gt=0)] | None = None  # None: that of the study
    most: Annotated[int, Field(ge=FIRST + 1, le=1000)] = 20  # of each row


Seeds = Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[int], Field(min_length=1)] | Until
MANY_TOKENS = 10**15
DEFAULT_METRIC = "eval/jsd_bound"
JOINER = " · "
SHARED = ("evaluation", "device")  # what makes rows comparable, next to corpus and length
SPENT = ("updates", "minutes", "clock")
UNITS = {"cpu_seconds": "CPU seconds", "tokens": "generated tokens"}  # others: the key


class Budget(Frozen):
    """What each run of the study may spend; exactly one of these."""

    seconds: Annotated[float, Field(gt=0)] | None = None
    cpu_seconds: Annotated[float, Field(gt=0)] | None = None  # not affected by other processes
    updates: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1, le=MANY_TOKENS)] | None = None  # generated: updates x N x S

    @property
    def given(self) -> tuple[str, float]:
        """The key that is given, and its value."""
        return next((key, value) for key, value in self if value is not None)

    @property
    def text(self) -> str:
        """For people: `30 CPU seconds`."""
        key, value = self.given
        return f"{value:,g} {UNITS.get(key, key).removesuffix('s' if value == 1 else '')}"

    @model_validator(mode="after")
    def _one_of_them(self) -> Budget:
        given = [key for key, value in self if value is not None]
        if len(given) != 1:
            ours = ", ".join(type(self).model_fields)
            raise ValueError(f"give one of {ours}; here: {', '.join(given) or 'none'}")
        return self


class Contrast(Frozen):
    """A planned comparison: `level` of an axis, or a variant, minus another.

    With `axis`, all pairs of runs that share every other axis; without, two rows by name.
    """

    axis: str | None = None
    level: str
    reference: str

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.axis + ': ' if self.axis else ''}{self.level} - {self.reference}"


class System(Frozen):
    """A whole system next to the variants: its own file's settings and the study's shared ones."""

    system: str  # a name in experiments/systems, or a file
    label: str | None = None
    set: dict[str, Any] = Field(default={})  # dotted settings, on top of everything

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.label or system_name(self.system)


class CorpusChoice(CorpusSettings):
    """A corpus of the study: keys of `[corpus]` that differ, and a label."""

    label: str | None = None

    @field_validator("label")
    @classmethod
    def _label_is_part_of_a_name(cls, label: str | None) -> str | None:
        if label is not None and not re.fullmatch(r"[\w.-]+", label):
            raise ValueError("must have letters, digits, '_', '.' and '-' only")
        return label

    @property
    def name(self) -> str:
        """Its label or, without, the name of its source."""
        return self.label or re.sub(r"[^\w.-]", "_", Path(self.source).stem)


class StudyTable(Frozen):
    """Keys of every kind."""

    tested: ClassVar[bool] = False  # whether rows are ranked on the test split, scored once
    adapts: ClassVar[bool] = False  # whether the number of seeds may depend on the results
    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: str = "ablation"
    question: str = ""
    seeds: Seeds = 3  # how many (0, 1, ...), which, or until contrasts are settled
    metric: Annotated[str, AfterValidator(ranking_metric)] = DEFAULT_METRIC
    # Rows that differ by less are equivalent; None: no row is called equivalent.
    margin: Annotated[float, Field(gt=0)] | None = None
    selection: Rules = Field(default=["last"])  # which checkpoints are scored; the first rule ranks
    # Of curves and pruners; None: metric, which then has a curve (see studies/definition.py).
    prune_metric: Annotated[str, AfterValidator(with_curve)] | None = None
    # The system `mle_tuned`, stopped early on the validation split, among the baselines of every
    # run; it is trained once for a corpus, in about a minute.
    likelihood: bool = True
    budget: Budget | None = None  # None: as [train] says
    contrasts: list[Contrast] = Field(default=[])
    systems: list[System] = Field(default=[])
    # The study runs on each of them; none: on that of [corpus].
    corpora: Annotated[list[CorpusChoice], Field(min_length=2)] = Field(default=[])

    @field_validator("systems", "corpora", mode="before")
    @classmethod
    def _texts_are_names(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, list):
            return given
        key = "system" if info.field_name == "systems" else "source"
        return [{key: each} if isinstance(each, str) else each for each in given]

    @field_validator("systems", "corpora")
    @classmethod
    def _names_differ(cls, given: list[Any]) -> list[Any]:
        names = [each.name for each in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice; give one of them a label")
        return given

    @field_validator("selection", mode="before")
    @classmethod
    def _rules_differ(cls, given: Any) -> Any:
        given = [given] if isinstance(given, str) else given
        if isinstance(given, list) and len({*map(str, given)}) < len(given):
            raise ValueError("must not have the same rule twice")
        return given

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: Seeds) -> Seeds:
        if isinstance(seeds, list) and (len(set(seeds)) != len(seeds) or min(seeds) < 0):
            raise ValueError("must be different numbers, none below 0")
        return seeds

    @model_validator(mode="after")
    def _adaptive_seeds_fit(self) -> StudyTable:
        if not isinstance(self.seeds, Until):
            return self
        if not self.adapts:
            raise ValueError(f"kind {self.kind!r} needs a fixed number of seeds: seeds = 5")
        if not (self.margin or self.seeds.margin):
            raise ValueError("seeds.until needs study.margin, the largest difference that does "
                             "not matter; without it, equal rows never settle")  # fmt: skip
        if self.margin and self.seeds.margin not in (None, self.margin):
            raise ValueError(f"seeds.margin is {self.seeds.margin} and margin {self.margin}; "
                             "give one of them")  # fmt: skip
        return self

    @property
    def looks(self) -> Looks | None:
        """When contrasts are looked at; None with a fixed number of seeds."""
        if not isinstance(self.seeds, Until):
            return None
        return Looks(self.seeds.most, self.margin or self.seeds.margin or 0.0)

    def seed_list(self) -> list[int]:
        """The seeds, the same for each variant; with adaptive seeds all that a row may have."""
        return seed_list(self.seeds)

    @property
    def seed_text(self) -> str:
        """The number of seeds, for people."""
        if self.looks is None:
            return count(len(self.seed_list()), "seed")
        return f"at most {count(self.looks.most, 'seed')}, until the contrasts are settled"

    @property
    def spent(self) -> str:
        """The budget of a run, for people."""
        return self.budget.text if self.budget else "as its file says"

    @property
    def ranked_by(self) -> str:
        """The logged metric that ranks the rows."""
        return self.ranked_with(self.selection[0])

    def ranked_with(self, rule: Rule) -> str:
        """The logged metric that ranks the rows if this rule picks the checkpoints."""
        split = "test" if self.tested else "eval"
        return checkpoint_key(self.metric.replace("eval", split, 1), rule)

    def picked(self, metric: str) -> str:
        """The logged name of a metric at the checkpoint that the first rule picks."""
        return checkpoint_key(metric, self.selection[0])

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics of a run that its study depends on, the one that ranks first."""
        return (self.metric,)

    def keeps(self, scores: Mapping[str, float | None]) -> bool:
        """Whether these scores keep the constraints, which only searches have."""
        return True

    @property
    def curve_metric(self) -> str:
        """The metric of curves and pruners, which every evaluation computes."""
        return self.prune_metric or self.metric

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return metric_info(self.metric).direction == "higher"


def seed_list(seeds: Seeds) -> list[int]:
    """The seeds of `study.seeds`, which is their number or a list."""
    if isinstance(seeds, Until):
        return list(range(seeds.most))
    return seeds if isinstance(seeds, list) else list(range(seeds))


def system_name(system: str) -> str:
    """The name of a system that is given by name or as a file."""
    return system.rpartition("/")[2].removesuffix(".toml")


@dataclass(frozen=True)
class Definition:
    """What a kind is made from: the study file and the files of all systems that it names."""

    tables: Tables  # all but [study]: the shared configuration
    systems: Mapping[str, Tables]  # row -> the tables of that system's file
    resolver: Resolver
    where: str  # for messages
    old_names: bool = False  # stored by version 0.1: rows and labels have its names of keys
    budget: Budget | None = None  # of each run; None: as the tables say
    own: Mapping[str, Any] = field(default_factory=dict)  # a system's settings of SPENT

    def config(self, settings: Mapping[str, Any] | None = None, where: str = "") -> Config:
        """The configuration with these changes, checked; `where` is added to messages. The budget
        is applied after them, because tokens depend on batch size and length; only changes of
        SPENT, which are the budget's own settings, override it.
        """
        place = ", ".join(part for part in (self.where, where) if part)
        tables = changed(self.tables, settings or {}, place)
        if self.budget is not None:
            own = {**self.own, **_of_budget(settings or {})}
            tables = changed(spend(tables, self.budget, place), own, place)
        return parse(tables, self.resolver, place)

    def budgeted(self, budget: Budget | None) -> Definition:
        """With the budget, if there is one, in place of that of the tables (SPENT)."""
        return replace(self, budget=budget, own={}) if budget else self

    def system(self, row: str, table: StudyTable) -> Definition:
        """Of a system that the study names, with the study's changes."""
        where = f"{self.where}, system {row}"
        settings = next((each.set for each in table.systems if each.name == row), {})
        tables = changed(shared(self.systems[row], self.tables), settings, where)
        own = _of_budget(settings)
        return replace(self, tables=tables, where=where, budget=table.budget, own=own)

    def labelled(self, axis: str, values: list[Any], key: str) -> dict[str, Any]:
        """Label to value; a label is a strategy's name, with its settings where names repeat. `key`
        is that of the list in the file.
        """
        is_slot = slot_name(axis) in SLOTS
        names = [value.get("name") if isinstance(value, Mapping) else value for value in values]
        if self.old_names:
            names = [previous_value(axis, name) for name in names]
            axis = previous_key(axis)
        found: dict[str, Any] = {}
        for name, value in zip(names, values, strict=True):
            label = str(name) if is_slot else f"{axis.rpartition('.')[2]}={name}"
            if names.count(name) > 1 and isinstance(value, Mapping):
                label += " " + " ".join(f"{k}={v}" for k, v in value.items() if k != "name")
            if label in found or any(_same(value, other) for other in found.values()):
                raise InputError(f"{self.where}: {key}: {label!r} is listed twice")
            found[label] = value
        return found


def _same(value: Any, other: Any) -> bool:
    """Whether two values of an axis are one level: 2 is 2.0, and a name is a table of it alone."""
    ours, theirs = ({"name": v} if isinstance(v, str) else v for v in (value, other))
    return bool(ours == theirs) and isinstance(ours, bool) == isinstance(theirs, bool)


def bare(axis: str, label: str) -> str:
    """A label of `labelled` without the axis's name, for places that show the axis as well."""
    for key in stored_keys(axis):
        label = label.removeprefix(f"{key.rpartition('.')[2]}=")
    return label


def changed(tables: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of the tables with each slot (by name or as a table) or dotted setting replaced. A
    whole system takes the place of all slots.
    """
    copy = deepcopy(dict(tables))
    if "system" in values:
        copy = {key: table for key, table in copy.items() if slot_name(key) not in SLOTS}
    for key, value in values.items():
        slot = slot_name(key)
        if slot not in SLOTS:
            assign(copy, key.split("."), value, f"{where}: {key}")
        elif isinstance(value, Mapping):
            copy[slot] = dict(value)
        elif copy.get(slot, {}).get("name") != value:
            copy[slot] = {"name": value}
    return copy


def shared(system: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a system's file with the corpus, length, evaluation, device and budget of the
    study, which make rows comparable.
    """
    tables = {slot_name(key): deepcopy(value) for key, value in system.items()}
    for key in (key for key in SHARED if key in study):
        ours = study[key]
        tables[key] = {**tables.get(key, {}), **ours} if isinstance(ours, Mapping) else ours
    if "corpus" in study:
        tables["corpus"] = dict(study["corpus"])
    if "stop" in study.get("train", {}):
        tables["train"] = {**tables.get("train", {}), "stop": study["train"]["stop"]}
    for name, keys in (("model", ("length",)), ("train", SPENT)):
        ours = {key: study[name][key] for key in keys if key in study.get(name, {})}
        kept = tables.get(name, {})
        if name == "train" and ours:
            kept = {key: value for key, value in kept.items() if key not in SPENT}
        tables[name] = {**kept, **ours}
    return tables


def spend(tables: Mapping[str, Any], budget: Budget, where: str) -> dict[str, Any]:
    """The tables with the budget in place of their own."""
    train = {key: value for key, value in tables.get("train", {}).items() if key not in SPENT}
    if budget.seconds is not None:
        train["minutes"] = budget.seconds / 60
    elif budget.cpu_seconds is not None:
        train.update(minutes=budget.cpu_seconds / 60, clock="cpu")
    elif budget.updates is not None:
        train["updates"] = budget.updates
    elif budget.tokens is not None:
        sizes = {k: v for k, v in train.items() if k == "batch_size"}
        lengths = {k: v for k, v in tables.get("model", {}).items() if k == "length"}
        one = checked(TrainConfig, sizes, where, "train.").batch_size
        one *= checked(ModelConfig, lengths, where, "model.").length
        train["updates"] = math.ceil(budget.tokens / one)
    return {**tables, "train": train}


def _of_budget(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that SPENT names."""
    names = {f"train.{key}" for key in SPENT}
    return {key: value for key, value in settings.items() if key in names}
