"""The annotated tree shows what exists, and the glossary lists the old names."""

from __future__ import annotations

import re
import subprocess
import tomllib

from core.config.renamed import KEYS, STUDIES
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "layout.md"
INVENTED = {"variants/temperature/cosine.py", "variants/objectives/"}  # an example, an old name
PACKAGES = ("core", "studies", "experiments")


def shown() -> set[str]:
    """Paths in the annotated tree, folders without a slash at the end."""
    found, parent = set(), ""
    for line in PAGE.read_text("utf-8").split("```text\n")[1].split("```")[0].splitlines():
        name = line.split()[0].rstrip("/")
        if not line.startswith(" "):
            parent = name
        found.add(name if not line.startswith(" ") else f"{parent}/{name}")
    return found


def test_everything_shown_exists() -> None:
    assert not {path for path in shown() if not (ROOT / path).exists()}


def test_every_path_that_a_page_names_exists() -> None:
    place = re.compile(r"`((?:core|variants|studies|experiments|tests|docs|benchmarks)/[\w/.]+)`")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    missing = {
        (page.name, path)
        for page in pages
        for path in place.findall(page.read_text("utf-8"))
        if not (ROOT / path).exists() and path not in INVENTED
    }
    assert not missing


def test_every_folder_is_shown() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    parts = [line.split("/") for line in done.stdout.splitlines()]
    top = {path[0] for path in parts if len(path) > 1 and not path[0].startswith(".")}
    inner = {"/".join(path[:2]) for path in parts if len(path) > 2 and path[0] in PACKAGES}
    missing = (top | inner) - shown()
    assert not missing, "add them to docs/layout.md"


def test_the_glossary_lists_every_renamed_key() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    for old, new in KEYS.items():
        assert f"`{old}`" in page or f"`{old} = " in page, old
        assert f"`{new}`" in page or f"`{new} = " in page, new
    for old, new in STUDIES.items():
        assert f"`{old}" in page, old
        assert f"`{new}" in page, new


def test_the_glossary_lists_every_marker() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    for marker in options["ini_options"]["markers"]:
        assert f"`{marker.partition(':')[0]}`" in page, marker
