"""RESULTS.md, figures, model card and reproduction table, from summaries and from nothing else.

    python -m studies.results results RESULTS.md --pictures PICTURES --card docs/model_card.md

The same summaries make the same bytes: no date, no machine, no chance.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from studies.analysis.temperature import sweep_section
from studies.model_card import model_card
from studies.page.drawing import Maker, draw, save
from studies.page.report import Report, environment
from studies.report import build
from studies.reproduction import reproduction
from studies.sections import Section
from studies.summary import load
from studies.temperature import read_sweeps

TEMPLATE = "results.md"
ELSEWHERE = ("training",)  # sections for which the store has more than a summary keeps
FORMAT = "svg"
SWEEPS = "sweeps"  # folder of what `textgan sweep --json` says of a study's runs
BEST = "from_scratch"  # the study whose winner has a card
PLANE = "temperature"  # the study that holds it against likelihood over temperature


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the pages that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("summaries", type=Path, help="folder of JSON files")
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files to write")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--numbers", type=Path, help="Markdown file of published numbers and ours")
    parser.add_argument("--card", type=Path, help="Markdown file of the best model's card")
    asked = parser.parse_args(arguments)
    reports = reports_of(asked.summaries)
    write(reports, asked.pages)
    for study, name, maker in drawings(reports):
        save(draw(maker), asked.pictures / study, name, (FORMAT,))
    if asked.card is not None:
        render_card(asked.summaries, asked.card)
    if asked.numbers is not None:
        with tempfile.TemporaryDirectory() as folder:
            text = reproduction(asked.summaries, Path(folder))
        asked.numbers.write_text(text, encoding="utf-8")


def reports_of(summaries: Path) -> dict[str, Report]:
    """The report of every summary, by the study's name; InputError for a bad one."""
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(summaries.glob("*.json")):
            made = build(load(file, Path(folder) / file.stem))
            sections = [each for each in made.sections if each.key not in ELSEWHERE]
            made = replace(made, sections=sections)
            swept = _swept(summaries, file.stem)
            reports[file.stem] = made if swept is None else with_sweeps(made, swept)
    return reports


def write(reports: Mapping[str, Report], pages: Sequence[Path]) -> None:
    """Write every page. Where a figure belongs there is a comment, which docs/hooks.py replaces."""
    text = environment().get_template(TEMPLATE).render(reports=reports)
    for page in pages:
        page.write_text(text, encoding="utf-8")


def drawings(reports: Mapping[str, Report]) -> Iterator[tuple[str, str, Maker]]:
    """Every figure: its study, its name, what makes it."""
    for study, report in reports.items():
        for section in report.sections:
            for name, maker in section.figures.items():
                yield study, name, maker


def _swept(summaries: Path, study: str) -> Section | None:
    """What the sweeps of the study's runs say, if there are any; InputError for no sweeps."""
    file = summaries / SWEEPS / f"{study}.json"
    return sweep_section(read_sweeps(file)) if file.exists() else None


def with_sweeps(report: Report, swept: Section) -> Report:
    """The report with the sweeps of its runs before its last section."""
    return replace(
        report,
        sections=[*report.sections[:-1], swept, report.sections[-1]],
        findings=[*report.findings, *swept.findings],
        headline=[*report.headline, *swept.findings[:1]],
    )


def render_card(summaries: Path, card: Path) -> None:
    """Write the card of the best row of the study that looks for a generator worth having."""
    swept = _swept(summaries, PLANE)
    with tempfile.TemporaryDirectory() as folder:
        reading = load(summaries / f"{BEST}.json", Path(folder))
        card.write_text(model_card(reading, BEST, swept, PLANE), encoding="utf-8")


if __name__ == "__main__":
    main()
