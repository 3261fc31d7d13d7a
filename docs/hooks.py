"""Pages of the site that are not files in docs/, and its navigation.

Tables of the reference come from `reference_tables.py`, the tour from its notebook; changelog,
contributing and results (a page per study) from files at the root; the licences from what is
installed. Decisions and other pages join the navigation because they exist.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference_tables import GENERATED, metric_page

from core.metrics.catalogue import GROUPS
from docs.results import reports_of, study_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
FROM_SOURCE = {f"../{source}": page for page, source in FROM_ROOT.items()} | {
    "../RESULTS.md": "results/index.md",
    "tour.ipynb": "tour.md",
}
SHOWN = "## What it has shown", "## Your own text"  # first page: the README between these
SUMMARY = re.compile(r"\]\(results/(\w+)\.json\)")  # in RESULTS.md, a link to all of a study
FIGURE = re.compile("<!-- figure: (.+?) -->")  # in the page of a study, where a figure belongs
GENERATED_HERE = re.compile("<!-- generated: (.+?) -->")  # in pages of docs/reference
FIGURES = "pictures/results"  # `make results` draws them there
METRIC_PAGES = {f"reference/metrics/{group}.md": group for group in GROUPS}
START = {
    "Home": ["index.md"],
    "Getting started": ["start.md", "tour.md"],
    "Concepts": ["concepts.md", "glossary.md", "original.md", "layout.md"],
    "How to": ["howto/*.md"],
    "Reference": ["reference/*.md"],
    "Metrics": [*METRIC_PAGES],
    "Decisions": ["decisions/README.md", "decisions/0*.md"],
    "Results": ["results/index.md", "limits.md", "model_card.md", "reproduction.md"],
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation: the sections above, and whatever else lies in docs/."""
    sections = {title: _matching(patterns) for title, patterns in START.items()}
    sections["Results"] += [page for page in _results() if page not in sections["Results"]]
    placed = {page for found in sections.values() for page in found}
    written = {str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")}
    more = sorted(written - placed)
    sections["More"] = [*more, "licences.md", "contributing.md", "changelog.md"]
    config.nav = [{section: found} for section, found in sections.items()]
    return config


def _matching(patterns: list[str]) -> list[str]:
    found = []
    for pattern in patterns:
        written = sorted(str(file.relative_to(DOCS)) for file in DOCS.glob(pattern))
        found += written if "*" in pattern else [pattern]
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file in docs/ holds."""
    made: dict[str, str | bytes] = _tour(DOCS / "tour.ipynb")
    made.update({page: metric_page(group) for page, group in METRIC_PAGES.items()})
    made["licences.md"] = _licences()
    made.update({name: _from_root(ROOT / source) for name, source in FROM_ROOT.items()})
    made.update(_results())
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert generated tables, and the README's results on the first page."""
    up = "../" * page.file.src_uri.count("/")  # to docs/
    for source, target in FROM_SOURCE.items():  # in a checkout links lead to the sources
        markdown = markdown.replace(f"]({up}{source}", f"]({up}{target}")
    markdown = GENERATED_HERE.sub(lambda place: GENERATED[place[1]](), markdown)
    if page.file.src_uri != "index.md":
        return markdown
    readme = _from_root(ROOT / "README.md")
    begin, end = map(readme.index, SHOWN)
    return markdown.replace("<!-- shown -->", readme[begin:end].strip())


def _licences() -> str:
    """Name, version and licence of every installed package."""
    command = [sys.executable, "-m", "piplicenses", "--with-system", "--format=markdown"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (
        "# Licences\n\ntextgan-lab is MIT. These packages were installed when this page was built, "
        "development tools included. `make licences` prints the same list, and `make sbom` a "
        f"CycloneDX bill of materials that says which package requires which.\n\n{done.stdout}"
    )


def _from_root(file: Path) -> str:
    """A page at the root; its links into docs/ and the results lead from there."""
    text = file.read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\]\(RESULTS\.md(?:#([a-z0-9-]+))?\)", _result, text)


def _result(link: re.Match[str]) -> str:
    return f"](results/{link[1] or 'index'}.md)"


@cache
def _results() -> dict[str, str]:
    """The results: what came out of each study on one page, and each study on its own."""
    first = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    pages = {"results/index.md": SUMMARY.sub(lambda link: f"]({_page(link[1])})", first)}
    for key, report in reports_of(ROOT / "results").items():
        pages[f"results/{_page(key)}"] = FIGURE.sub(_figure, study_page(key, report))
    return pages


def _page(key: str) -> str:
    return f"{key.replace('_', '-')}.md"


def _figure(place: re.Match[str]) -> str:
    """The figure as an image; nothing if it has not been drawn."""
    file = f"{FIGURES}/{place[1]}.svg"
    return f"![{Path(file).stem}](../{file})" if (DOCS / file).exists() else ""


def _tour(notebook: Path) -> dict[str, str | bytes]:
    """A notebook as a page: its text, its code, and the pictures and texts it last came to."""
    parts: list[str] = []
    made: dict[str, str | bytes] = {}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            data: dict[str, Any] = output.get("data", {})
            plain = output.get("text") or data.get("text/plain")
            if "image/png" in data:
                name = f"pictures/tour_{number}.png"
                made[name] = b64decode(data["image/png"])
                parts.append(f"![Output]({name})")
            elif plain:
                parts.append("```text\n" + "".join(plain).rstrip() + "\n```")
    return {"tour.md": "\n\n".join(parts) + "\n", **made}
