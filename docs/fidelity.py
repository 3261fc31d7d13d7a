"""Fidelity tables: each system beside its paper and its authors' code.

`experiments/systems/fidelity/NAME.toml` says what was read and which strategies its rows are about.
`settings` are keys of the system's configuration, from which our value is read. `choices` are what
no key shows. A row whose value is not the authors' (or the paper's, where there is no code) says
why.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.config import Config, read_toml
from core.config.schema import Frozen
from core.config.slots import FOLDERS
from experiments.loading import SYSTEMS, load

# Settings that do not belong to an algorithm.
OPERATIONAL = {f"train.{key}" for key in (
    "clock", "minutes", "micro_batch", "max_loss", "rollback", "log_every", "threads",
    "checkpoint_every", "keep_at", "keep_every", "compile")}  # fmt: skip
# Settings that need a row only where they are not at their default, which is off or not used.
OPTIONAL = {"model.noise", "generator.tied", "discriminator.output_dropout"}
OPTIONAL |= {f"train.{key}" for key in (
    "reuse_fakes", "lr_decay", "progress", "entropy", "instance_noise", "curriculum_start",
    "curriculum_end", "ema", "replay", "discriminator_from_generator", "clip_generator_only",
    "adversarial_clip", "stop")}  # fmt: skip
Text = Annotated[str, Field(min_length=1)]


class Row(Frozen):
    """One setting or choice. Absent: not said, or no code."""

    published: Any = None
    authors: Any = None
    why: Text | None = None  # ours is another value, or nobody else's is known

    @property
    def theirs(self) -> Any:
        """The authors' value, else the published one."""
        return self.published if self.authors is None else self.authors


class Choice(Row):
    """A structural choice that no key of the configuration shows."""

    ours: Text
    same: bool


class Fidelity(Frozen):
    """The table of one system."""

    paper: Text  # and the sections that were read
    code: Text  # address and files that were read, "none published" or "not seen"
    strategies: dict[str, Text]  # slot -> the strategy that the rows are about
    settings: dict[str, Row] = Field(default_factory=dict)
    choices: dict[str, Choice] = Field(default_factory=dict)


def fidelity(system: str) -> Fidelity:
    """The table of an included system."""
    return Fidelity.model_validate(read_toml(SYSTEMS / "fidelity" / f"{system}.toml"))


def faults(system: str) -> list[str]:
    """What is wrong with a system's table: missing rows, unknown keys, undeclared differences."""
    table, config = fidelity(system), load(system)
    ours, needed = settings(config), _needed(config)
    found = [f"no row for {key} (ours {ours[key]!r})" for key in needed - set(table.settings)]
    found += [f"no setting {key}" for key in table.settings if key not in ours]
    chosen = {slot: ours[f"{slot}.name"] for slot in FOLDERS if f"{slot}.name" in ours}
    if chosen != table.strategies:
        found.append(f"the table is about {table.strategies}, ours are {chosen}")
    for key, row in table.settings.items():
        if key in ours and row.why is None and row.theirs != ours[key]:
            found.append(f"{key}: ours {ours[key]!r}, theirs {row.theirs!r}, and no reason")
    for what, choice in table.choices.items():
        if choice.why is None and not choice.same:
            found.append(f"{what}: not the same, and no reason")
    return found


def settings(config: Config) -> dict[str, Any]:
    """The settings of an algorithm, dotted: model, training, and those of each strategy."""
    tables = {part: getattr(config, part) for part in ("model", "train", *FOLDERS)}
    return {
        f"{part}.{key}": value
        for part, table in tables.items()
        if table is not None
        for key, value in table.model_dump(mode="json").items()
        if f"{part}.{key}" not in OPERATIONAL
    }


def _needed(config: Config) -> set[str]:
    """The settings that need a row."""
    return {
        key
        for key, value in settings(config).items()
        if not key.endswith(".name") and not (key in OPTIONAL and _is_default(config, key, value))
    }


def _is_default(config: Config, key: str, value: Any) -> bool:
    part, name = key.split(".")
    return bool(type(getattr(config, part)).model_fields[name].default == value)
