"""Settings as tables: key, type, default, bounds, search range, and the comment in the source."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
import types
from collections.abc import Container, Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as limits
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.config import Config, EvaluationConfig, ModelConfig, Search, TrainConfig
from core.text.settings import CorpusSettings
from experiments.reference.code import prose
from studies.kinds import find_kind, kinds
from studies.table import StudyTable

TABLES: Sequence[tuple[str, type[BaseModel]]] = (
    ("corpus", CorpusSettings),
    ("model", ModelConfig),
    ("train", TrainConfig),
    ("evaluation", EvaluationConfig),
)
LARGE = 32  # from here on a power of two is written as one
STUDY = "Only in a study file; every other table there is what all its runs share."
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >="}
INTRODUCTION = """# Configuration

A run is one TOML file, or a system's name; `--set a.b=value` overrides any key. Unknown keys and
names are refused with the nearest right one, and a combination that cannot work is refused in a
sentence that names both settings. *Search* is the range that a study of kind `search` draws a key
from unless the study file gives its own.

Ten slots hold one [strategy](strategies.md) each, as a table with its `name` and that strategy's
own settings.
"""


def page() -> str:
    """The page of every table that is not a strategy's."""
    parts = [INTRODUCTION, "## Top level", table(Config, "", without=_tables_in(Config))]
    for prefix, model in TABLES:
        parts += [f"## `[{prefix}]`", _text_of(model), table(model, f"{prefix}.")]
    parts += ["## `[study]`", STUDY, table(StudyTable, "study.")]
    for name, inner in _tables_in(StudyTable).items():
        parts += [f"### `[study.{name}]`", _text_of(inner), table(inner, f"study.{name}.")]
    for kind in kinds():
        found = find_kind(kind)
        parts += [f'### `kind = "{kind}"`', prose(found)]
        parts += [table(found.Table, "study.", without=StudyTable.model_fields)]
        for name, inner in _tables_in(found.Table).items():
            if name not in StudyTable.model_fields:
                parts += [f"#### `[study.{name}]`", _text_of(inner), table(inner, f"study.{name}.")]
    return "\n\n".join(parts) + "\n"


def table(model: type[BaseModel], prefix: str, *, without: Container[str] = ()) -> str:
    """The fields of a table in Markdown."""
    comments = comments_of(model)
    rows = []
    for name, field in model.model_fields.items():
        if name in without:
            continue
        cells = [f"`{prefix}{name}`", _type(field.annotation), _default(field)]
        cells += [_bounds(field), _search(field), comments.get(name, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if not rows:
        return "No settings."
    head = "| key | type | default | bounds | search | |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def comments_of(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the comment behind it in the source, where there is one."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not (issubclass(cls, BaseModel) and cls is not BaseModel):
            continue
        source = textwrap.dedent(inspect.getsource(cls))
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT and "type: ignore" not in token.string
        }
        definition = ast.parse(source).body[0]
        for node in ast.walk(definition):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                said = " ".join(comments[line] for line in lines if line in comments)
                if said:
                    found[node.target.id] = said
    return found


def _text_of(model: type[BaseModel]) -> str:
    """Its docstring; what a package's module says stands there too, where it is the table's own."""
    module = inspect.getmodule(model)
    whole = [model] if module is None or len(_models_of(module)) > 1 else [module, model]
    return "\n\n".join(prose(each) for each in whole)


def _models_of(module: types.ModuleType) -> list[type[BaseModel]]:
    return [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, BaseModel)
        and thing.__module__ == module.__name__
    ]


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that a union is made of, without None and without annotations."""
    if get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _parts(inner)
    elif get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif annotation is not type(None):
        yield annotation


def _tables_in(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields that are tables themselves, or lists of tables."""
    found = {}
    for name, field in model.model_fields.items():
        for part in _parts(field.annotation):
            inner = get_args(part)[0] if get_origin(part) is list else part
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found[name] = inner
    return found


def _type(annotation: Any) -> str:
    names: dict[str, None] = {}
    for part in _parts(annotation):
        if get_origin(part) is Literal:
            names |= dict.fromkeys(f'`"{value}"`' for value in get_args(part))
        elif get_origin(part) is not None:
            names[f"`{_generic(part)}`"] = None
        else:
            names[f"`{getattr(part, '__name__', part)}`"] = None
    return ", ".join(names)


def _generic(part: Any) -> str:
    inner = [" or ".join(_plain(each) for each in _parts(argument)) for argument in get_args(part)]
    return f"{get_origin(part).__name__}[{', '.join(inner)}]"


def _plain(part: Any) -> str:
    return _generic(part) if get_origin(part) is not None else getattr(part, "__name__", str(part))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _metadata(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    for annotation in _annotated(field.annotation):
        for extra in get_args(annotation)[1:]:
            yield from extra.metadata if isinstance(extra, FieldInfo) else [extra]


def _annotated(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _annotated(inner)


def _bounds(field: FieldInfo) -> str:
    found = []
    for each in _metadata(field):
        if isinstance(each, limits.BaseMetadata):
            found += [
                f"{SIGNS[name]} {_number(getattr(each, name))}"
                for name in SIGNS
                if hasattr(each, name)
            ]
    return ", ".join(found)


def _number(value: float) -> str:
    exponent = value.bit_length() - 1 if isinstance(value, int) else 0
    large = exponent >= LARGE and value == 2**exponent
    return f"2^{exponent}" if large else f"{value:g}"


def _search(field: FieldInfo) -> str:
    for each in _metadata(field):
        if isinstance(each, Search):
            return f"{each.low:g} to {each.high:g}{', log' if each.log else ''}"
    return ""
