"""A study file: the question, what is compared, the seeds, and the configuration that is shared.

`[study]` says what is compared; every other table is the configuration that all variants share.
Everything is checked, variant by variant, before anything runs. A study that was begun carries its
whole definition, the files of the systems that it names included.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from core.config import Config, blame, merge, override, read_toml
from core.config.parsing import checked
from core.config.renamed import current_tables
from core.config.slots import FOLDERS, Resolver, slot_name
from core.errors import InputError
from core.faults import in_toml
from core.metrics.catalogue import METRICS, has_curve
from core.text.oracles import oracle_of
from core.tracking.protocol import MLFLOWS_OWN
from studies.kinds import Kind, OnCorpora, find_kind, keys_of, kinds
from studies.plan import Variant
from studies.table import DEFAULT_METRIC, Definition, StudyTable, system_name

Find = Callable[[str], Path]  # a system's name to its file
RUN = "run:"  # before a run of the store instead of a system

EXACT = "eval/jsd"
DEFAULTS: Mapping[str, Any] = {"metric": DEFAULT_METRIC, "likelihood": True}  # are stored too
TABLES = ("study", "corpus", "model", "train", "evaluation")  # besides those of the slots
CHEAP = "eval/fed"  # of curves, if the metric has none; is stored too
# Of earlier versions, which did not store them.
FORMER_DEFAULTS: Mapping[str, Any] = {"metric": "eval/ms_jaccard_2", "likelihood": False}
FORMER_CHEAP = "eval/ms_jaccard_2"  # theirs for CHEAP


@dataclass(frozen=True)
class Study:
    """A checked study. `tables` is the file with overrides, from which it can be made again."""

    table: StudyTable
    tables: Mapping[str, Any]
    kind: Kind = field(compare=False)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The rows known before anything ran, in the order in which they run first."""
        jobs = self.kind.plan(()).jobs
        return tuple({job.variant.name: job.variant for job in jobs}.values())

    def on_corpora(self, resolver: Resolver, where: str) -> dict[str, Study]:
        """The study on each corpus of `study.corpora`, by its name; without, itself as ""."""
        if not self.table.corpora:
            return {"": self}
        found = {}
        table = {key: value for key, value in self.tables["study"].items() if key != "corpora"}
        for corpus in self.table.corpora:
            own = corpus.model_dump(exclude_unset=True, exclude={"label"})
            tables = {
                **self.tables,
                "study": {**table, "name": f"{self.table.name}_{corpus.name}"},
                "corpus": {**self.tables.get("corpus", {}), **own},
            }
            found[corpus.name] = stored_study(tables, resolver, f"{where}, corpus {corpus.name}")
        return found

    def definition(self) -> str:
        """JSON from which `from_definition` makes the same study."""
        return json.dumps(self.tables)


def _with_tables(tables: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The tables of a study, with a strategy's name alone as a table; InputError for a setting in
    the place of a table.
    """
    found = dict(tables)
    for key, value in tables.items():
        is_slot = slot_name(key) in FOLDERS
        if is_slot and isinstance(value, str):
            found[key] = {"name": value}
        elif (is_slot or key in TABLES) and not isinstance(value, Mapping):
            raise InputError(f"{where}: {key} = {in_toml(value)}: must be a table of settings")
    return found


def load_study(
    path: Path, overrides: Sequence[str], resolver: Resolver, find: Find | None = None
) -> Study:
    """A study file with `a.b=value` overrides, checked; InputError names file and key.

    `find` knows the files of systems by name, and of runs; without it a system is a path beside the
    study.
    """
    find_file = partial(_system_file, study=path, find=find)
    tables = current_tables(read_toml(path), str(path))
    if not isinstance(tables.get("study"), Mapping):
        raise InputError(f"{path}: no [study] table; run it with: textgan run {path}")
    base = tables["study"].pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise InputError(f"{path}: study.base = {in_toml(base)}: must be a system or a file")
        tables = merge(current_tables(read_toml(find_file(base))), tables)
    tables = _with_tables(override(tables, overrides), str(path))
    for key, value in DEFAULTS.items():
        tables["study"].setdefault(key, value)
    if _lacks_curve(tables["study"]):
        tables["study"]["prune_metric"] = CHEAP
    tables.setdefault("name", tables["study"].get("name", path.stem))
    named = dict(_systems_named(tables["study"]))
    if named:
        tables["systems"] = {
            row: {"name": row, **_with_tables(read_toml(file := find_file(system)), str(file))}
            for row, system in named.items()
        }
    with blame(str(path), overrides):
        study = make_study(tables, resolver, str(path))
        kind = next(iter(study.on_corpora(resolver, str(path)).values())).kind
        kind.check_file(str(path))
    if study.table.looks and kind.variants:  # on record, so that the report knows them too
        contrasts = kind.contrasts(kind.variants)
        if not contrasts:
            raise InputError(f"{path}: study.seeds: adaptive seeds need two rows to compare")
        tables["study"]["contrasts"] = [each.model_dump(exclude_none=True) for each in contrasts]
        study = make_study(tables, resolver, str(path))
    if study.table.name == MLFLOWS_OWN:
        raise InputError(
            f"{path}: study.name = {MLFLOWS_OWN!r}: MLflow has an experiment of this name; "
            f"give the study another one"
        )
    for each in study.on_corpora(resolver, str(path)).values():
        for variant in each.variants if EXACT in study.table.measured else ():
            if reason := _why_not_exact(variant.config, resolver):
                others = getattr(study.table, "objectives", ())
                key = "objectives" if EXACT in others else "constraints"
                key = "metric" if study.table.metric == EXACT else key
                raise InputError(
                    f"{path}: study.{key} = {EXACT!r}: {variant.name!r} has none: {reason}; "
                    f"take {DEFAULT_METRIC}"
                )
    return study


def _why_not_exact(config: Config, resolver: Resolver) -> str:
    """Why a run has no exact divergence, as far as the configuration shows it; else empty."""
    if oracle_of(config.corpus, config.model.length) is None:
        return f"corpus.source = {in_toml(config.corpus.source)} has no exact probabilities"
    sampling = config.sampling and resolver.strategy("sampling", config.sampling.name)
    if sampling and "likelihood" not in sampling.offers:
        return f"sampling {config.sampling.name!r} has no likelihood"  # type: ignore[union-attr]
    return ""


def from_definition(definition: str, resolver: Resolver) -> Study:
    """The study of a stored definition."""
    return stored_study(json.loads(definition), resolver, "the stored study")


def stored_study(stored: Mapping[str, Any], resolver: Resolver, where: str) -> Study:
    """The study of stored tables. Its definition stays as it is stored, and its rows keep the
    names that they were given, whatever their keys are called today.
    """
    tables = current_tables(stored)
    old_names = tables != stored
    tables = _with_tables(tables, where)
    made = make_study(_with_defaults(tables), resolver, where, old_names=old_names)
    return Study(made.table, stored, made.kind)


def same_definition(ours: str, theirs: str) -> bool:
    """Whether two definitions are of one study, whichever version stored them."""
    both = [_with_tables(current_tables(json.loads(each)), "") for each in (ours, theirs)]
    ignored = {"likelihood"}  # a further baseline changes no row
    if any(_lacks_curve(each["study"]) for each in both):  # stored by an earlier version
        ignored.add("prune_metric")
    first, second = map(_with_defaults, both)
    for each in (first, second):
        each["study"] = {k: v for k, v in each["study"].items() if k not in ignored}
    return first == second


def _with_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Stored tables with what earlier versions did, which did not store their defaults."""
    study = {**FORMER_DEFAULTS, **stored.get("study", {})}
    if _lacks_curve(study):
        study["prune_metric"] = FORMER_CHEAP
    return {**stored, "study": study}


def _lacks_curve(study: Mapping[str, Any]) -> bool:
    """Whether no metric is given that every evaluation computes."""
    metric = study.get("metric")
    if not isinstance(metric, str) or metric.removeprefix("eval/") not in METRICS:
        return False  # the check of the table says so
    return "prune_metric" not in study and not has_curve(metric)


def make_study(
    tables: Mapping[str, Any], resolver: Resolver, where: str, *, old_names: bool = False
) -> Study:
    """Every variant of the tables, checked."""
    tables = current_tables(tables)
    try:
        kind = find_kind(tables["study"].get("kind", "ablation"))
    except InputError as error:
        raise InputError(f"{where}: study.kind: {error}") from None
    given = {"name": tables.get("name", "study"), **tables["study"]}
    for key in sorted(given.keys() - keys_of(kind)):
        others = [name for name in kinds() if key in keys_of(find_kind(name))]
        if others:
            raise InputError(
                f"{where}: study.{key}: not a key of kind {given.get('kind', 'ablation')!r}, only "
                f"of kind {' and '.join(map(repr, others))}"
            )
    table = checked(kind.Table, given, where, prefix="study.")
    config = {key: value for key, value in tables.items() if key not in ("study", "systems")}
    if "selection" in table.model_fields_set:
        best = {"keep_best": table.curve_metric} if "best" in table.selection else {}
        given = {**best, **config.get("evaluation", {})}
        config["evaluation"] = {**given, "selection": table.selection}
    definition = Definition(config, tables.get("systems", {}), resolver, where, old_names)
    made = kind(table, definition)
    return Study(table, tables, OnCorpora(made) if table.corpora else made)


def _systems_named(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(row, name or file) of every system that the table names; faults are left to its check."""
    listed = table.get("systems", [])
    for each in listed if isinstance(listed, list) else []:
        given = each if isinstance(each, Mapping) else {"system": each}
        system, label = given.get("system"), given.get("label")
        if isinstance(system, str):
            yield label if isinstance(label, str) and label else system_name(system), system
    trunks = table.get("trunks")
    for run in trunks if isinstance(trunks, list) else ():
        if isinstance(run, str):
            yield run, f"{RUN}{run}"
    for key in ("from", "to"):
        if isinstance(table.get(key), str):
            yield system_name(table[key]), table[key]


def _system_file(system: str, study: Path, find: Find | None) -> Path:
    beside = study.parent / system
    if find is None or (system.endswith(".toml") and beside.exists()):
        return beside
    try:
        return find(system)
    except InputError as error:
        raise InputError(f"{study}: {error}") from None
