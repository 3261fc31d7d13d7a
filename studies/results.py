"""RESULTS.md, figures, model card and reproduction table, from summaries and from nothing else.

    python -m studies.results results RESULTS.md --pictures PICTURES --card docs/model_card.md

The same summaries make the same bytes: no date, no machine, no chance.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from studies.model_card import model_card
from studies.page.drawing import draw, save
from studies.page.report import Report, environment
from studies.report import build
from studies.reproduction import reproduction
from studies.summary import load

TEMPLATE = "results.md"
ELSEWHERE = ("cost", "training")  # sections for which the store has more than a summary keeps
FORMAT = "svg"
BEST = "from_scratch"  # the study whose winner has a card


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the pages that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("summaries", type=Path, help="folder of JSON files")
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files to write")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--numbers", type=Path, help="Markdown file of published numbers and ours")
    parser.add_argument("--card", type=Path, help="Markdown file of the best model's card")
    asked = parser.parse_args(arguments)
    render(asked.summaries, asked.pages, asked.pictures)
    if asked.card is not None:
        render_card(asked.summaries, asked.card)
    if asked.numbers is not None:
        with tempfile.TemporaryDirectory() as folder:
            text = reproduction(asked.summaries, Path(folder))
        asked.numbers.write_text(text, encoding="utf-8")


def render(summaries: Path, pages: Sequence[Path], pictures: Path) -> None:
    """Write every page, each with links to the same pictures; InputError for a bad summary."""
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(summaries.glob("*.json")):
            made = build(load(file, Path(folder) / file.stem))
            sections = [each for each in made.sections if each.key not in ELSEWHERE]
            reports[file.stem] = Report(
                made.title, made.question, made.facts, made.findings, sections
            )
            for section in sections:
                for name, maker in section.figures.items():
                    save(draw(maker), pictures / file.stem, name, (FORMAT,))
    template = environment().get_template(TEMPLATE)
    for page in pages:
        folder_of = os.path.relpath(pictures, page.parent)
        text = template.render(reports=reports, pictures=folder_of, format=FORMAT)
        page.write_text(text, encoding="utf-8")


def render_card(summaries: Path, card: Path) -> None:
    """Write the card of the best row of the study that looks for a generator worth having."""
    with tempfile.TemporaryDirectory() as folder:
        reading = load(summaries / f"{BEST}.json", Path(folder))
        card.write_text(model_card(reading, BEST), encoding="utf-8")


if __name__ == "__main__":
    main()
