"""What people read of a wrong value: words of ours, whichever field it is and whatever it holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tomli_w
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from core.config import parse, read_toml
from core.config.schema import Config
from core.config.slots import FOLDERS
from core.errors import InputError
from core.faults import first_fault
from core.plural import count
from studies.definition import load_study
from studies.kinds import find_kind, kinds
from studies.table import Budget, Contrast, System
from tests.conftest import SMOKE
from variants import registry

VALUES = (
    True, 0, 1, -1, 10**30, 0.5, -1.5, math.nan, math.inf, "", "x", "3", "x" * 300,
    date(2026, 1, 2), [], [1], [-1], ["x", "x"], [[]], [{}], [0.5, 0.1], {}, {"x": 1}, {"x": []},
    {"x": {"x": "x"}},
)  # fmt: skip
VALIDATORS_OWN = re.compile(
    r"constrained|function-|\b(list|dict|tuple|set)\[|\[key\]|[Vv]alue error|should|valid \w+,"
    r"|be a valid|unable to|instance of|[Ee]xtra inputs|[Ff]ield required|after validation"
    r"|fractional part|pydantic|\[type=|NoneType|<class"
)
STUDY = SMOKE.with_name("design_axes.toml")
TABLES = [name for name, info in Config.model_fields.items() if name not in FOLDERS]
Attempt = tuple[str, Callable[[], object]]


def _of_the_configuration() -> Iterator[Attempt]:
    base = read_toml(SMOKE)
    for name in TABLES:
        model = Config.model_fields[name].annotation
        inside = getattr(model, "model_fields", {})
        for value in VALUES:
            yield name, lambda name=name, value=value: parse({**base, name: value}, registry())
            for field in (*inside, "typo"):
                table = {**base.get(name, {}), field: value}
                yield field, lambda name=name, t=table: parse({**base, name: t}, registry())


def _of_strategies(slot: str) -> Iterator[Attempt]:
    for name in registry().names(slot):
        for field in (*registry().strategy(slot, name).Config.model_fields, "typo"):
            for value in VALUES:
                table = {"name": name, field: value}
                yield field, lambda table=table: parse({slot: table}, registry())


def _of_studies(kind: str, folder: Path) -> Iterator[Attempt]:
    base = read_toml(STUDY)
    file = folder / "study.toml"

    def attempt(field: str, value: object) -> Attempt:
        def load() -> object:
            study = {**base["study"], "kind": kind, field: value}
            file.write_text(tomli_w.dumps({**base, "study": study}))
            return load_study(file, [], registry())

        return field, load

    table = find_kind(kind).Table
    fields = [info.alias or name for name, info in table.model_fields.items()]
    for value in VALUES:
        for field in (*fields, "typo", "base"):
            yield attempt(field, value)
        for field, model in (("budget", Budget), ("contrasts", Contrast), ("systems", System)):
            for inner in (*model.model_fields, "typo"):
                inside = {"system": "mle", inner: value} if model is System else {inner: value}
                yield attempt(field, inside if model is Budget else [inside])


def _badly_said(attempts: Iterator[Attempt]) -> list[str]:
    """Messages that are not ours, do not name the field, or have more than two lines; any other
    error is raised.
    """
    wrong, refused = [], 0
    for field, attempt in attempts:
        try:
            attempt()
        except InputError as error:
            refused += 1
            said = re.sub(r"'[^']*'", "", str(error))  # without what was given
            if VALIDATORS_OWN.search(said) or said.count("\n") > 1:
                wrong.append(f"{field}: {error}")
    assert refused > 10
    return wrong


def test_no_field_of_a_configuration_speaks_as_its_validator() -> None:
    assert not _badly_said(_of_the_configuration())


@pytest.mark.parametrize("slot", FOLDERS)
def test_no_field_of_a_strategy_speaks_as_its_validator(slot: str) -> None:
    assert not _badly_said(_of_strategies(slot))


@pytest.mark.parametrize("kind", kinds())
def test_no_field_of_a_study_speaks_as_its_validator(kind: str, tmp_path: Path) -> None:
    assert not _badly_said(_of_studies(kind, tmp_path))


class Plugin(BaseModel):
    """Checks that no table of ours has, but a plug-in's may."""

    even: Annotated[int, Field(multiple_of=2)] = 2
    code: Annotated[str, Field(pattern="^a+$", max_length=3)] = "a"
    few: Annotated[list[int], Field(max_length=2)] = []
    several: set[int] = set()
    which: Literal["a", "b"] | int | list[float] = "a"
    inner: Mapping[str, int] | None = None


@pytest.mark.parametrize("field", Plugin.model_fields)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_no_check_of_a_plugin_speaks_as_pydantic(field: str, value: object) -> None:
    try:
        Plugin(**{field: value})
    except ValidationError as error:
        assert not VALIDATORS_OWN.search(re.sub(r"'[^']*'", "", first_fault(error)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seeds": "three"}, "study.seeds = 'three': must be a whole number, or a list"),
        ({"seeds": [1, "x"]}, "study.seeds = 'x': must be a whole number"),
        ({"seeds": -1}, "study.seeds = -1: must be 1 or more, or a list"),
        ({"seeds": []}, "study.seeds = []: must be a whole number, or not be empty"),
        ({"seeds": [1, 1]}, "study.seeds = [1, 1]: must be different numbers"),
        ({"name": 2026}, 'study.name = 2026: must be text; write it in quotes: "2026"'),
        ({"name": "Default"}, "study.name = 'Default': MLflow has an experiment of this name"),
        ({"name": "x" * 201}, "must have at most 200 characters"),
        ({"contrasts": [{"reference": "a"}]}, "study.contrasts.level is missing"),
        ({"axes": {"sampling": []}}, "study.axes.sampling = []: must not be empty"),
        ({"budget": 3}, "study.budget = 3: must be a table of settings"),
        ({"typo": 1}, "study.typo: unknown key; known: "),
    ],
)
def test_faults_of_a_study_say_what_would_be_right(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    tables = read_toml(STUDY)
    tables["study"] |= given
    (tmp_path / "study.toml").write_text(tomli_w.dumps(tables))
    with pytest.raises(InputError) as refused:
        load_study(tmp_path / "study.toml", [], registry())
    assert words in str(refused.value)


def test_a_fault_of_a_file_names_its_place() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(dict[str, list[int]]).validate_json('{"a": [1, "x"]}')
    assert first_fault(refused.value) == "a.1 = 'x': must be a whole number"
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(dict[str, int]).validate_json("{")
    assert first_fault(refused.value).startswith("not valid JSON: EOF while parsing")


@pytest.mark.parametrize(
    ("n", "word", "words"),
    [(0, "run", "0 runs"), (1, "run", "1 run"), (2, "run of two", "2 runs of two"),
     (1, "entry", "1 entry"), (1000, "entry", "1,000 entries")],
)  # fmt: skip
def test_nouns_are_counted(n: int, word: str, words: str) -> None:
    assert count(n, word) == words
