"""A report: who is asked what, what can be concluded, and the sections. Pages are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from core.tracking.rendering import plain
from studies.page.drawing import draw, inline, save
from studies.sections import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HTML, MARKDOWN, FIGURES = "report.html", "report.md", "figures"


@dataclass(frozen=True)
class Report:
    """Everything that a page shows."""

    title: str
    question: str
    facts: Mapping[str, str]  # what was run, in a few words each
    findings: Sequence[str]  # Markdown sentences: what can be concluded, and what cannot
    headline: Sequence[str]  # of them the one or two that a list of studies has room for
    sections: Sequence[Section]

    @cached_property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """Section key -> name -> figure; each drawn once."""
        return {
            section.key: {name: draw(maker) for name, maker in section.figures.items()}
            for section in self.sections
        }

    def html(self) -> str:
        """One page without any other file; whatever a sentence holds is text, never markup."""
        templates = environment()
        prose = MarkdownIt("commonmark", {"html": False}).enable("table")
        templates.filters["prose"] = lambda text: Markup(prose.render(text))  # noqa: S704
        drawings = {
            key: [inline(figure, f"{key}-{name}", name) for name, figure in made.items()]
            for key, made in self.figures.items()
        }
        return templates.get_template("report.html").render(report=self, drawings=drawings)

    def markdown(self) -> str:
        """The same as text, figures as PNG files beside it."""
        return environment().get_template("report.md").render(report=self, folder=FIGURES)

    def write(self, folder: Path) -> list[Path]:
        """Page, text and figures below `folder`; the files written."""
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / HTML, folder / MARKDOWN]
        files[0].write_text(self.html(), encoding="utf-8")
        files[1].write_text(self.markdown(), encoding="utf-8")
        for made in self.figures.values():
            for name, figure in made.items():
                files += save(figure, folder / FIGURES, name)
        return files


def environment() -> Environment:
    """The templates of this folder, with what they need to quote."""
    made = Environment(
        loader=PackageLoader("studies.page"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["cell"] = _markdown_cell
    made.filters["plain"] = plain
    return made


def _markdown_cell(text: str) -> str:
    """A table cell in Markdown: one line, no bars, no tags."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("`", "\\`")
