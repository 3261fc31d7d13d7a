"""No module imports itself through others, type-only imports included."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("core", "variants", "studies", "experiments")


def modules(root: Path) -> dict[str, Path]:
    """Dotted name to file of every module of the four packages."""
    return {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
    }


def imported(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    """Modules of ours that a module names in its imports, wherever they are in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def cycle(root: Path) -> list[str] | None:
    """The modules of one import cycle, the first one again at the end."""
    known = modules(root)
    graph = {}
    for name, file in known.items():
        found = set(imported(ast.parse(file.read_text(encoding="utf-8")), known))
        graph[name] = found - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])[::-1]
    return None


def test_no_import_cycle() -> None:
    found = cycle(ROOT)
    assert found is None, " -> ".join(found)


def test_a_cycle_of_type_only_and_late_imports_is_found(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "core" / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from core.b import B\n"
    )
    assert cycle(tmp_path) is None
    (tmp_path / "core" / "b.py").write_text("def f():\n    from core import a\n")
    assert set(cycle(tmp_path) or ()) == {"core.a", "core.b"}
