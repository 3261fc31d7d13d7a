"""Tables of the reference documentation, written from the code.

`docs/hooks.py` inserts them where a page of docs/reference says `<!-- generated: NAME -->`.
Signatures and docstrings come from mkdocstrings, through `:::` directives in the pages.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from core.config import Config, EvaluationConfig, ModelConfig, TrainConfig, read_toml
from core.config.parsing import tables_in
from core.config.schema import ForkConfig, StopConfig
from core.config.slots import FOLDERS
from core.metrics.catalogue import CATALOGUE, GROUPS, METRICS
from core.metrics.comparison import Difference, EvaluationComparison
from core.metrics.files import Evaluation
from core.text.settings import CorpusSettings
from docs.fidelity import Row, fidelity
from docs.fidelity import settings as algorithm
from experiments.loading import SYSTEMS, load, systems
from studies.kinds import find_kind, kinds
from studies.table import StudyTable
from variants import registry

SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<",
         "minLength": "length >=", "minItems": "length >=",
         "minProperties": "length >="}  # fmt: skip
TYPES = {"number": "float", "object": "table", "array": "list"}  # JSON's name -> ours
TABLES: Mapping[str, type[BaseModel]] = {
    "corpus": CorpusSettings, "model": ModelConfig, "train": TrainConfig,
    "train.stop": StopConfig, "evaluation": EvaluationConfig, "fork": ForkConfig,
}  # fmt: skip


def settings() -> str:
    """Every table that is not a strategy's."""
    parts = ["## Top level", table(Config, without=models_in(Config))]
    for name, model in TABLES.items():
        parts += [f"## `[{name}]`", prose(model), table(model, f"{name}.")]
    parts += ["## `[study]`", prose(StudyTable), table(StudyTable, "study.")]
    parts += [text for each in models_in(StudyTable).items() for text in _inner(*each)]
    for kind in kinds():
        model = find_kind(kind).Table
        new = {k: v for k, v in models_in(model).items() if k not in StudyTable.model_fields}
        parts += [f'### `kind = "{kind}"`', prose(find_kind(kind))]
        parts += [table(model, "study.", without=StudyTable.model_fields)]
        parts += [text for each in new.items() for text in _inner(*each)]
    return "\n\n".join(parts)


def _inner(name: str, model: type[BaseModel]) -> list[str]:
    return [f"### `[study.{name}]`", prose(model), table(model, f"study.{name}.")]


def strategies() -> str:
    """Every strategy of every slot: docstring, declarations, settings, the systems that use it."""
    used = {system: read_toml(file) for system, file in systems().items()}
    parts = []
    for slot in FOLDERS:
        parts.append(f"## {slot}")
        for name in registry().names(slot):
            strategy = registry().strategy(slot, name)
            users = [
                each for each, tables in used.items() if tables.get(slot, {}).get("name") == name
            ]
            facts = {
                "Source": strategy.paper,
                "Needs": ", ".join(
                    f"`{at}` that offers `{what}`" for at, what in strategy.needs.items()
                ),
                "Offers": ", ".join(f"`{what}`" for what in sorted(strategy.offers)),
                "Used by": ", ".join(f"[{user}](systems.md#{user})" for user in users),
            }
            parts += [f"### {slot}.{name}", prose(strategy)]
            parts += ["\n".join(f"- {title}: {text}" for title, text in facts.items() if text)]
            parts += [table(strategy.Config, f"{slot}.", without={"name"})]
    return "\n\n".join(parts)


def metrics(group: str = "") -> str:
    """The metrics of a group, or all of them, each with a link to its group's page."""
    rows = [
        "| name | better | what it is | group | least | in a run |",
        "|---|---|---|---|---|---|",
    ]
    for name, info in CATALOGUE.items():
        if not group or info.group == group:
            page = f"`{group}`" if group else f"[{info.group}](metrics/{info.group}.md)"
            logged = "yes" if name in METRICS else ""
            rows.append(
                f"| `{name}` | {info.direction} | {info.summary} | {page} | "
                f"{GROUPS[info.group].needs} | {logged} |"
            )
    return "\n".join(rows)


def metric_page(group: str) -> str:
    """The page of one group of metrics."""
    use = (
        "Only training runs have it, because it needs the generator itself."
        if GROUPS[group].generator
        else f"`textgan evaluate ... --metrics {group}` computes these alone."
    )
    parts = [
        f"# {group}",
        metrics(group),
        f"{use} With fewer than {GROUPS[group].needs:,} sentences on either side there is a "
        "warning. [Metrics](../../howto/metrics.md) says how the interval is computed and how "
        "often it covers.",
        f"::: {GROUPS[group].module}",
    ]
    return "\n\n".join(parts)


def document() -> str:
    """The fields of `textgan evaluate --json` and their JSON Schema."""
    schema = Evaluation.model_json_schema()
    parts = []
    models: list[type[BaseModel]] = [Evaluation, *models_in(Evaluation).values()]
    models += [EvaluationComparison, Difference]
    for model in models:
        parts += [f"## {model.__name__}", prose(model), table(model)]
    return "\n\n".join([*parts, "## JSON Schema", f"```json\n{json.dumps(schema, indent=2)}\n```"])


def commands() -> str:
    """The help of every command."""
    from experiments.cli import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="textgan")
    text = get_docs_for_click(obj=command, ctx=context, name="textgan", title="textgan")
    return re.sub(r"^\* `--help`: .*\n", "", text.partition("\n")[2], flags=re.MULTILINE)


def shipped() -> str:
    """Header and content of every system and study that comes with the harness."""
    studies = sorted((SYSTEMS.parent / "studies").glob("*.toml"))
    parts = ["## Systems"]
    for system, file in systems().items():
        parts += [_file(file), fidelity_table(system)]
    return "\n\n".join([*parts, "## Studies", *map(_file, studies)])


def fidelity_table(system: str) -> str:
    """What a system does beside its paper and its authors' code; differences are bold."""
    table, ours = fidelity(system), algorithm(load(system))
    rows = ["| | published | authors' code | ours | why |", "|---|---|---|---|---|"]
    rows += [f"| {slot} | | | {name} | |" for slot, name in table.strategies.items()]
    for key, row in table.settings.items():
        differs = row.theirs is not None and row.theirs != ours[key]
        rows.append(_beside(f"`{key}`", row, ours[key], differs))
    for what, choice in table.choices.items():
        rows.append(_beside(what, choice, choice.ours, not choice.same))
    return "\n".join([f"Read: {table.paper}. Code: {table.code}.", "", *rows])


def _beside(what: str, row: Row, ours: Any, differs: bool) -> str:
    name = f"**{what}**" if differs else what
    cells = (name, row.published, row.authors, "off" if ours is None else ours, row.why)
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _file(file: Path) -> str:
    text = file.read_text("utf-8")
    header = re.match(r"(#.*\n)*", text)[0]  # type: ignore[index]
    said = re.sub(r"^# ?", "", header, flags=re.MULTILINE)
    whole = textwrap.indent(f"```toml\n{text.removeprefix(header).strip()}\n```", "    ")
    return f'### {file.stem}\n\n```text\n{said}```\n\n??? note "{file.name}"\n\n{whole}'


GENERATED: Mapping[str, Callable[[], str]] = {
    "settings": settings, "strategies": strategies, "metrics": metrics, "document": document,
    "commands": commands, "systems": shipped,
}  # fmt: skip


def table(model: type[BaseModel], prefix: str = "", *, without: Container[str] = ()) -> str:
    """The fields of a pydantic model as a Markdown table."""
    properties = model.model_json_schema()["properties"]
    comments = _comments(model)
    rows = ["| key | type | default | bounds | search | meaning |", "|---|---|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in without:
            continue
        schema = properties[field.alias or name]
        options = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
        bounds = [
            f"{sign} {each[key]:g}"
            for each in options
            for key, sign in SIGNS.items()
            if key in each
        ]
        search = next((each["search"] for each in (schema, *options) if "search" in each), "")
        default = f"`{json.dumps(schema.get('default'))}`"
        if field.is_required() or default == "`null`":
            default = "required" if field.is_required() else "absent"
        cells = [
            f"`{prefix}{field.alias or name}`",
            ", ".join(dict.fromkeys(map(_type, options))),
            default,
            ", ".join(bounds),
            search,
            schema.get("description", comments.get(name, "")),
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) if len(rows) > 2 else "No settings."


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(f'`"{value}"`' for value in schema.get("enum", [schema.get("const")]))
    name = schema.get("type", "object" if "$ref" in schema else "any")
    items = f" of {_type(schema['items'])}" if schema.get("items") else ""
    return f"`{TYPES.get(name, name)}`{items}"


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the comment after it in the source, if there is one."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls is BaseModel or not issubclass(cls, BaseModel):
            continue
        source = textwrap.dedent(inspect.getsource(cls))
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT and "type: ignore" not in token.string
        }
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if said := " ".join(comments[n] for n in lines if n in comments):
                    found[node.target.id] = said
    return found


def models_in(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Field -> the model that its annotation contains, for the fields that are tables."""
    return {
        name: inner
        for name, field in model.model_fields.items()
        if (inner := next(tables_in(field.annotation), None)) is not None
    }


def prose(thing: Any) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "").replace("<", "&lt;")
