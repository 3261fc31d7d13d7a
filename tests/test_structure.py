"""Rules of the code's structure that no linter checks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("core", "variants", "studies", "experiments")
MOST_PARAMETERS, MOST_LINES = 8, 400


def files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def _is_command(function: ast.FunctionDef) -> bool:
    """Whether it is a command of a Typer application, whose parameters are options."""
    return any(
        ast.unparse(each).startswith(("app.command(", "app.callback("))
        for each in function.decorator_list
    )


def test_no_function_has_more_than_eight_parameters_but_commands() -> None:
    found = []
    for file in files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or _is_command(node):
                continue
            given = node.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > MOST_PARAMETERS:
                found.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}: {count}")
    assert not found


def test_a_long_file_states_its_reason_at_its_top() -> None:
    found = []
    for file in files():
        text = file.read_text(encoding="utf-8")
        lines = text.count("\n")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        if lines > MOST_LINES and "one file because" not in docstring.lower():
            found.append(f"{file.relative_to(ROOT)}: {lines} lines")
    assert not found, "say in the docstring that it is `one file because` of what"


def test_nouns_after_a_number_are_counted() -> None:
    """`1 run`, not `1 runs`: messages use `core.plural.count`, except where one cannot be."""
    nouns = "run|seed|variant|trial|sentence|update|question|system|order|worker|reference|step"
    counted = re.compile(rf"(?<!of )\{{(?!count\(|[A-Z_]+\}})[^{{}}]+\}} ({nouns})s\b")
    never_one = {"experiments/gradients.py", "experiments/sweep.py", "core/training/batches.py"}
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in files()
        for match in counted.finditer(file.read_text(encoding="utf-8"))
        if str(file.relative_to(ROOT)) not in never_one
    ]
    assert not found
