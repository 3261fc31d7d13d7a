"""Numbers that are not finite or too large are refused in words, wherever one can be given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from core.config import override, parse, read_toml
from core.config.parsing import tables_in
from core.config.schema import Config
from core.config.slots import FOLDERS
from core.errors import InputError
from core.tracking.served_generator import Request
from experiments.commands import corpus, evaluate, run, runs, study, tools
from studies.table import Budget, System
from tests.conftest import SMOKE
from tests.experiments.test_cli import textgan
from variants import registry

WRONG = ("nan", "inf", "-inf", "1e39", "1e300", "-1e300", "1e-300")


def has_float(annotation: Any) -> bool:
    return annotation is float or any(has_float(part) for part in get_args(annotation))


def options() -> Iterator[tuple[str, str]]:
    """Command and option, of each option that is a number with a fraction."""
    for module in (corpus, evaluate, run, runs, study, tools):
        for command in module.app.registered_commands:
            assert command.callback is not None
            hints = get_type_hints(command.callback, include_extras=True)
            for name, annotation in hints.items():
                if has_float(annotation):
                    yield command.callback.__name__, f"--{name.replace('_', '-')}"


def fields() -> Iterator[str]:
    """Every field of the configuration that is a number with a fraction, dotted."""
    for table, info in Config.model_fields.items():
        for model in tables_in(info.annotation):
            for name, field in model.model_fields.items():
                if has_float(field.annotation):
                    yield f"{table}.{name}"


def check(model: type[BaseModel], value: str) -> None:
    for key, field in model.model_fields.items():
        if has_float(field.annotation):
            with pytest.raises(ValidationError):
                model(**{key: float(value)})


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(("command", "option"), [*options(), ("sweep", "--temperatures")])
def test_of_an_option(
    command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = textgan(command, "nothing", f"{option}={value}", capsys=capsys)
    assert code == 2
    assert option in err
    assert not Path("mlruns").exists()


@pytest.mark.parametrize("value", WRONG)
def test_of_a_configuration(value: str) -> None:
    for field in fields():
        with pytest.raises(InputError, match=field):
            parse(override(read_toml(SMOKE), [f"{field}={value}"]), registry())


@pytest.mark.parametrize("value", WRONG)
def test_of_a_strategy(value: str) -> None:
    for slot in FOLDERS:
        for name in registry().names(slot):
            check(registry().strategy(slot, name).Config, value)


@pytest.mark.parametrize("value", WRONG)
def test_of_a_study_or_a_request(value: str) -> None:
    number = float(value)
    for wrong in (
        lambda: Budget(seconds=number),
        lambda: System(system="mle", set={"train.clip": [number]}),
        lambda: Request(temperature=number),
    ):
        with pytest.raises(ValidationError):
            wrong()


@pytest.mark.parametrize("number", ["1e30", str(2**63), "9" * 400, "9" * 5000])
def test_integers_have_64_bits(number: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.updates"):
        parse(override(read_toml(SMOKE), [f"train.updates={number}"]), registry())
    (tmp_path / "c.toml").write_text(f"[train]\nupdates = {number}\n")
    with pytest.raises(InputError):
        parse(read_toml(tmp_path / "c.toml"), registry())


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf" + SMOKE.read_bytes())
    assert read_toml(tmp_path / "c.toml") == read_toml(SMOKE)
