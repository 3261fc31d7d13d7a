"""The `[study]` table: keys that every kind of study has. Each kind adds its own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from core.config.schema import Frozen
from core.metrics.catalogue import metric_info, ranking_metric

Seeds = Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[int], Field(min_length=1)]
MANY_TOKENS = 10**15
UNITS = {"cpu_seconds": "CPU seconds", "tokens": "generated tokens"}  # others: the key


class Budget(Frozen):
    """What each run of the study may spend; exactly one of these."""

    seconds: Annotated[float, Field(gt=0)] | None = None
    cpu_seconds: Annotated[float, Field(gt=0)] | None = None  # not affected by other processes
    updates: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1, le=MANY_TOKENS)] | None = None  # generated: updates x N x S

    @property
    def text(self) -> str:
        """For people: `30 CPU seconds`."""
        ((key, value),) = ((key, value) for key, value in self if value is not None)
        return f"{value:,g} {UNITS.get(key, key)}"

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


class System(Frozen):
    """A whole system next to the variants: its own file's settings and the study's shared ones."""

    system: str  # a name in experiments/systems, or a file
    label: str | None = None
    set: dict[str, Any] = Field(default={})  # dotted settings, on top of everything

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.label or system_name(self.system)


class StudyTable(Frozen):
    """Keys of every kind."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: str = "ablation"
    question: str = ""
    seeds: Seeds = 3  # how many (0, 1, ...), or which
    metric: str = "eval/ms_jaccard_2"
    budget: Budget | None = None  # None: as [train] says
    contrasts: list[Contrast] = Field(default=[])
    systems: list[System] = Field(default=[])

    @field_validator("systems", mode="before")
    @classmethod
    def _names_are_systems(cls, given: Any) -> Any:
        if not isinstance(given, list):
            return given
        return [{"system": each} if isinstance(each, str) else each for each in given]

    @field_validator("systems")
    @classmethod
    def _rows_have_names_of_their_own(cls, given: list[System]) -> list[System]:
        names = [each.name for each in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice; give one of them a label")
        return given

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, metric: str) -> str:
        return ranking_metric(metric)

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: Seeds) -> Seeds:
        if isinstance(seeds, list) and (len(set(seeds)) != len(seeds) or min(seeds) < 0):
            raise ValueError("must be different numbers, none below 0")
        return seeds

    def seed_list(self) -> list[int]:
        """The seeds, the same for each variant."""
        return seed_list(self.seeds)

    @property
    def spent(self) -> str:
        """The budget of a run, for people."""
        return self.budget.text if self.budget else "as its file says"

    @property
    def ranked_by(self) -> str:
        """The logged metric that ranks the rows."""
        return self.metric

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return metric_info(self.metric).direction == "higher"


def seed_list(seeds: Seeds) -> list[int]:
    """The seeds of `study.seeds`, which is their number or a list."""
    return seeds if isinstance(seeds, list) else list(range(seeds))


def system_name(system: str) -> str:
    """The name of a system that is given by name or as a file."""
    return system.rpartition("/")[2].removesuffix(".toml")
