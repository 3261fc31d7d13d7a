"""The rendered pages hold the same numbers as at commit 661bb7b, whatever their words are.

These are RESULTS.md, the page of each study, which `make docs` builds, and two pages of docs/. Of
each there are three parts:

    tables      the numbers of all table rows, in order; header rows are words
    sentences   those of bullets, sorted, without signs: "by .01" may become "-.01"
    code        those of code blocks, sorted: a configuration may gain settings

Explanations (plain paragraphs) are words: only their numbers with a decimal point are compared,
with those of the sentences.

Recorded again since: on a tie, a variant that ended well ranks before one that did not; scores are
means, failed runs keep theirs, and intervals are Student's; a contrast is stated once, not in both
directions; published_small and oracle were run again after their systems were mended, ranked by
jsd_bound; the interval of a score takes that of the survivors at 97.5%, so it is wider; the study
first_minute was added; all columns of a leaderboard are of the split of its score; what is
equivalent to the first row is said with the margin, in RESULTS.md too; first_minute was run again
with log_ratio; original_axes was added in place of five studies that asked its question where
nothing was learned; own_checkpoint was added; the model card is that of log_ratio (first_minute),
and from_scratch and default_difficulty_hour are gone; default_difficulty was run again with
log_ratio and mle_tuned; design_attention, whose models were below the unigram floor, and its
replays are gone; original_to_log_ratio takes the place of original_to_modern; of a path's
coordinate its worth alone and after all others is told; captions_fifteen_minutes takes the place of
captions_five_minutes; modern_to_log_ratio was added; published_tuned takes the place of
published_small, published_systems (also on captions), tuned_from_scratch and search_rates;
seqgan_to_scratchgan, whose models were below the bigram floor, is gone; on a path parts and whole
judge failed runs by the same survivors; the model card says all conclusions, and the seed of its
samples; first_minute was run on a machine that did nothing else, log_ratio without its entropy
bonus; captions_full was added; feedback was run again, on all_words and ranked by jsd_bound; a
headline of RESULTS.md has the verdicts against the first row instead of the largest difference;
published_tuned has a sweep over temperature; RESULTS.md has a table for each study and says the
interval without failures first; news was added; captions_full was run again with three seeds, since
its checkpoints had been chosen with other references; the table of own_checkpoint in RESULTS.md has
a column for each stage; published_captions was added; curves and sweeps have bands of one
evaluation alone, shares Jeffreys' or Newcombe's interval, failed trials the worst value, and the
contributions of paths an adjusted p.
A change of the numbers needs a reason and a new record:

    python -m tests.studies.test_rendered_numbers            show where they differ
    python -m tests.studies.test_rendered_numbers --record   write what this tree's pages say
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from core.config.renamed import current_study
from docs import results
from studies.report import Report
from tests.conftest import ROOT

RECORD = ROOT / "tests" / "data" / "numbers_661bb7b.json.xz"
RESULTS = "RESULTS.md"
ADDED = {"trials"}  # sections that the record does not have
PAGES = (RESULTS, "docs/model_card.md", "docs/reproduction.md")
LINK = re.compile(r"!?\[[^\]]*\]\([^)]*\)")
NAME = re.compile(r"`[^`]*`")
# Not a part of a word, of a name with underscores, or of a version such as 1.2.3.
NUMBER = re.compile(
    r"(?<![\w.#-])[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?(?![\w.]*\w)"
)
LEADING = re.compile(r"^([-+]?)\.")
Parts = dict[str, list[str]]
Sections = dict[str, Parts]


def numbers(line: str) -> list[str]:
    """The numbers of a line, .5 as 0.5; those of links and of names in backquotes are none."""
    found = NUMBER.findall(NAME.sub("", LINK.sub("", line)))
    return [LEADING.sub(r"\g<1>0.", number) for number in found]


def parts_of(text: str) -> Parts:
    """The numbers of a page, by part."""
    parts: Parts = {"tables": [], "sentences": [], "code": []}
    code = False
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if "does not see" in line:  # what the metric laboratory says of a score
            continue
        if line.startswith("```"):
            code = not code
        elif code:
            parts["code"] += numbers(line)
        elif line.startswith("|"):
            parts["tables"] += numbers(line) if not following.startswith("|--") else []
        elif line.startswith(("- ", "  ")) and not line.startswith("    "):
            parts["sentences"] += [number.lstrip("+-") for number in numbers(line)]
        elif not line.startswith(("#", "    ")):
            parts["sentences"] += [n.lstrip("+-") for n in numbers(line) if "." in n]
    parts["sentences"].sort()
    parts["code"].sort()
    return parts


@cache
def reports() -> dict[str, Report]:
    """Of the committed summaries."""
    return results.reports_of(ROOT / "results")


def study_parts(key: str, report: Report) -> Parts:
    """The numbers of a study's page, without sections that were added."""
    then = [section for section in report.sections if section.key not in ADDED]
    return parts_of(results.study_page(key, replace(report, sections=then)))


@cache
def rendered() -> dict[str, Sections]:
    """The numbers of this tree's pages; those of the studies belong to RESULTS.md."""
    found = {page: {"top": parts_of((ROOT / page).read_text(encoding="utf-8"))} for page in PAGES}
    for key, report in reports().items():
        found[RESULTS][current_study(key)] = study_parts(key, report)
    return found


def recorded() -> dict[str, Sections]:
    """Those of the record."""
    found: dict[str, Sections] = json.loads(lzma.decompress(RECORD.read_bytes()))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_the_recorded_numbers(page: str) -> None:
    then, now = recorded()[page], rendered()[page]
    fewest = 20 if page == "docs/reproduction.md" else 40  # a table of three rows
    assert sum(len(part) for parts in then.values() for part in parts.values()) > fewest
    assert differences(then, now) == []


def test_the_committed_results_are_those_of_the_summaries(tmp_path: Path) -> None:
    results.write(reports(), [again := tmp_path / RESULTS])
    text = (ROOT / RESULTS).read_text(encoding="utf-8")
    assert again.read_text(encoding="utf-8") == text, "run `make results`"
    assert len(text.splitlines()) <= 300
    assert set(re.findall(r"\(results/(\w+)\.json\)", text)) == set(reports())


def test_a_changed_number_is_found_and_a_changed_word_is_not() -> None:
    page = """# card axes grammar
- `a 2` beats `b` by .5 [.25, .75] over 3 pairs, see [here](x_9.md)

| row | 95% interval |
|---|---|
| `a` | 0.5, v1.2.3, 2,000 |
"""
    then = {"a": parts_of(page)}
    assert then["a"] == {
        "tables": ["0.5", "2,000"], "sentences": ["0.25", "0.5", "0.75", "3"], "code": [],
    }  # fmt: skip
    words = page.replace("card", "design").replace("by .5", "(difference -0.5, n = 3)")
    words = words.replace(" over 3 pairs", "").replace("95% interval", "interval")
    assert differences(then, {"a": parts_of(words)}) == []
    assert differences(then, {"a": parts_of(page.replace("0.5", "0.6"))}) == [
        "a, tables: from number 0: was 0.5 2,000, is 0.6 2,000"
    ]
    assert differences(then, {"a": parts_of(page.replace(".75", ".74"))}) == [
        "a, sentences: gone 0.75; new 0.74"
    ]
    assert differences(then, {}) == ["a: the section is gone"]


def differences(then: Sections, now: Sections) -> list[str]:
    """A line for each section and part that is not as it was; sections may be added."""
    lines = []
    for name, parts in then.items():
        if name not in now:
            lines.append(f"{name}: the section is gone")
            continue
        for part, before in parts.items():
            if words := _difference(part, before, now[name][part]):
                lines.append(f"{name}, {part}: {words}")
    return lines


def _difference(part: str, before: list[str], after: list[str]) -> str:
    if part == "tables":
        if before == after:
            return ""
        pairs = zip(before, after, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))
        was, now = before[place : place + 8], after[place : place + 8]
        return f"from number {place}: was {' '.join(was)}, is {' '.join(now)}"
    gone, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    if part == "code":
        new = Counter()
    words = [f"{what} {' '.join(sorted(which.elements()))}"
             for what, which in (("gone", gone), ("new", new)) if which]  # fmt: skip
    return "; ".join(words)


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="write the record anew")
    if parser.parse_args().record:
        text = json.dumps(rendered(), separators=(",", ":"))
        RECORD.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
        return
    then, now = recorded(), rendered()
    for page in PAGES:
        for line in differences(then[page], now[page]):
            print(f"{page}: {line}")


if __name__ == "__main__":
    _main()
