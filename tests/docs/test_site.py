"""The documentation builds strictly, loads nothing from elsewhere, and its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import Config
from core.config.slots import SLOTS
from core.metrics.catalogue import CATALOGUE, GROUPS
from core.metrics.files import Evaluation
from docs.reference_tables import GENERATED
from studies.kinds import kinds
from tests.conftest import ROOT
from variants import registry

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LOADED = re.compile(r"""<(?:script|img|iframe)[^>]+src=["']?(\w+:)?//"""
                    r"""|<link[^>]+rel=["']?stylesheet["']?[^>]+href=["']?(\w+:)?//""")  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(site: Path) -> None:
    found = list(site.rglob("*.html"))
    assert len(found) > 20
    for page in found:
        assert not LOADED.search(page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert "fonts.googleapis" not in sheet.read_text()
    assert list(site.glob("pictures/*.png"))
    listed = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    places = {entry["location"].split("#")[0] for entry in listed}
    assert {"start.html", "concepts.html", "tour.html", "results/index.html"} <= places
    decisions = {file.stem for file in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert decisions <= {Path(place).stem for place in places}


def test_figures_of_results_are_committed_only_where_a_page_shows_them() -> None:
    listed = ["git", "ls-files", "README.md", "docs/*.md", "docs/pictures/results"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [ROOT / name for name in done.stdout.split() if name.endswith(".md")]
    shown = {
        match[1]
        for page in pages
        for match in re.finditer(r"(pictures/results/\S+)\)", page.read_text())
    }
    kept = {name.removeprefix("docs/") for name in done.stdout.split() if "/pictures/" in name}
    assert kept == shown


@pytest.mark.slow
def test_every_metric_has_a_page_with_its_definition(site: Path) -> None:
    for group in GROUPS:
        text = (site / "reference" / "metrics" / f"{group}.html").read_text(encoding="utf-8")
        names = [name for name, info in CATALOGUE.items() if info.group == group]
        assert all(f"<code>{name}</code>" in text for name in names), group
        assert f"{GROUPS[group].needs:,} sentences on either side" in text
    assert "relgan" in (site / "reference" / "metrics" / "self_bleu.html").read_text()


@pytest.mark.slow
def test_signatures_and_docstrings_are_in_the_reference(site: Path) -> None:
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in ("Generator", "Estimator", "Search", "Corpus", "load", "run"):
        assert re.search(rf'id="[a-z_.]+\.{name}"', python), name
    for page in (site / "reference").rglob("*.html"):
        assert not re.search("<(unk|end|pad|start)>", page.read_text(encoding="utf-8")), page


def test_the_example_of_an_evaluation_is_a_document() -> None:
    page = (ROOT / "docs" / "reference" / "evaluation_json.md").read_text(encoding="utf-8")
    Evaluation.model_validate_json(page.split("```json\n")[1].split("```")[0])


def test_the_reference_names_everything_there_is() -> None:
    found = {name: write() for name, write in GENERATED.items()}
    for slot in SLOTS:
        for name in registry().names(slot):
            assert f"### {slot}.{name}\n" in found["strategies"]
            for key in registry().strategy(slot, name).Config.model_fields:
                assert key == "name" or f"`{slot}.{key}`" in found["strategies"]
    for table, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {}) if table not in SLOTS else {}
        for key in inner:
            assert f"`{table}.{key}`" in found["settings"]
    assert all(f"`{name}`" in found["metrics"] for name in CATALOGUE)
    assert all(f'`kind = "{kind}"`' in found["settings"] for kind in kinds())
    assert "| `train.clip` | `float` | absent | > 0 |" in found["settings"]
    assert "| `study.from` | `string` | required |" in found["settings"]
    assert "1e-05 to 0.03, log" in found["settings"]
    assert "## `textgan study`" in found["commands"]
    assert "### gan_textgen" in found["systems"]
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert all(f"<!-- generated: {name} -->" in pages for name in GENERATED)


DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md",
         *(str(page.relative_to(ROOT)) for page in DOCS)]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_in_a_checkout(page: str) -> None:
    file = ROOT / page
    for target in LINK.findall(file.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (file.parent / target.partition("#")[0]).exists(), f"{page}: {target}"
