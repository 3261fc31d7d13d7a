"""What is claimed with an interval, by hand, stands in the rendered results, rounded."""

from __future__ import annotations

import re

import pytest

from docs.results import study_page
from tests.conftest import ROOT
from tests.studies.test_rendered_numbers import reports

NUMBER = r"[+-]?\d*\.?\d+"
CLAIM = re.compile(rf"({NUMBER})(%?) \[({NUMBER}), ({NUMBER})\]")
RESULT = re.compile(rf"({NUMBER})(?: \|)? [\[(]?({NUMBER})(?:, | to )({NUMBER})")
Triple = tuple[float, float, float]


def claims() -> list[tuple[str, str]]:
    """Every value with its interval, as the README and the studies' headers have them."""
    pages = [ROOT / "README.md", *sorted((ROOT / "experiments" / "studies").glob("*.toml"))]
    texts = {page.name: re.sub(r"\n#? *", " ", page.read_text("utf-8")) for page in pages}
    return [(name, each[0]) for name, text in texts.items() for each in CLAIM.finditer(text)]


@pytest.fixture(scope="module")
def results() -> list[Triple]:
    pages = [study_page(key, report) for key, report in reports().items()]
    text = "".join([*pages, (ROOT / "docs" / "reproduction.md").read_text("utf-8")])
    found = RESULT.findall(text)
    return [(float(value), float(low), float(high)) for value, low, high in found]


@pytest.mark.parametrize(("page", "claim"), claims())
def test_a_claim_is_a_result(page: str, claim: str, results: list[Triple]) -> None:
    match = CLAIM.fullmatch(claim)
    assert match is not None
    value, percent, *ends = match.groups()
    scale = 100 if percent else 1

    def same(said: str, found: float) -> bool:
        # Half of the last digit said, and of the fourth that results have.
        last = 10.0 ** -len(said.partition(".")[2])
        return abs(float(said) - scale * found) <= 0.5 * (last + scale * 1e-4) + 1e-9

    said = (value, *ends)
    assert any(all(map(same, said, found)) for found in results), f"{page}: {claim}"


def test_there_are_claims() -> None:
    assert {"README.md", "feedback.toml"} <= {page for page, _ in claims()}
