"""The laboratory's page is that of its stored results; a report names what its score cannot see."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from core.metrics.catalogue import CATALOGUE, GROUPS, TEXT_GROUPS, names_of
from core.metrics.faults import FAULTS
from core.metrics.laboratory import DOSES, Effort, Null, Seen, Sheet, Table, TextTable
from docs import laboratory_page, results
from studies.analysis import laboratory
from studies.figures import draw
from studies.sections import Reading
from tests.conftest import ROOT

STORED = ROOT / "results" / results.LABORATORY


def test_the_committed_page_and_package_are_those_of_the_results(tmp_path: Path) -> None:
    page, packaged = tmp_path / "page.md", tmp_path / "metrics.json"
    results.write_laboratory(STORED, page, tmp_path, packaged)
    committed = (ROOT / "docs" / "metrics_laboratory.md").read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == committed, "run `make results`"
    assert packaged.read_text() == laboratory.SMALLEST.read_text(), "run `make results`"
    assert (tmp_path / "metrics" / "smallest.svg").exists()


def test_all_faults_were_measured() -> None:
    table = laboratory_page.read_table(STORED)
    assert len(FAULTS) >= 12
    oracle, judge = ({*names_of(group)} for group in ("oracle", "jsd_bound"))
    every = {name for group in TEXT_GROUPS for name in names_of(group)} - judge
    cheap = {"grammar": every, "captions": every - oracle}
    sizes = {"grammar": [1000, 2000, 10_000], "captions": [1000, 2000, 4000]}
    for text, found in table.items():
        assert sorted(found.sheets) == sizes[text]
        for n, sheet in found.sheets.items():
            assert {*sheet.real} == (judge if n == 2000 else cheap[text]), (text, n)
            assert {*sheet.faults} == {*FAULTS}
            assert all(set(seen) == set(sheet.real) for seen in sheet.faults.values())
    assert [*table["grammar"].planted] == [*FAULTS]
    measured = {
        name: null.version
        for found in table.values()
        for sheet in found.sheets.values()
        for name, null in sheet.real.items()
    }
    now = {name: GROUPS[CATALOGUE[name].group].version for name in measured}
    assert measured == now, "measure the groups again that have a new version"
    assert all(len(bits) == len(DOSES) for bits in table["grammar"].planted.values())


def table() -> Table:
    null = Null(0.5, 0.1, 0.3, None, Effort(99, 100, 10), 0.05)
    doses: dict[str, float | None] = {
        "shuffled_words": 0.46, "truncation": None, "repeats": 0.1, "lost_modes": 0.32,
        "agreement_errors": DOSES[-1], "swapped_attributes": None,
    }  # fmt: skip
    trends = {"truncation": "rises", "repeats": "mixed"}
    seen = {
        fault: {"ms_jaccard_2": Seen(dose, 0.5, trends.get(fault, "falls"))}
        for fault, dose in doses.items()
    }
    planted: dict[str, list[float | None]] = {fault: [0.5] * len(DOSES) for fault in doses}
    planted["swapped_attributes"] = [0.0] * len(DOSES)
    planted["repeats"] = [None] * len(DOSES)
    sheets = {1000: Sheet({"ms_jaccard_2": null}, seen), 9000: Sheet({"ms_jaccard_2": null}, seen)}
    return {"grammar": TextTable("the grammar", sheets, planted)}


def test_the_page_marks_what_is_not_seen_and_what_improves() -> None:
    (text,) = laboratory_page.page(table())["texts"]
    assert [n for n, _, _ in text["sheets"]] == [1000, 9000]
    assert text["sheets"][0][1][:3] == ["metric", "shuffled words", "truncation"]
    assert text["sheets"][0][2] == [["ms_jaccard_2", ".46", "– +", ".1 ~", ".32", "≤ .001", "–"]]
    assert text["faults"][0][2:] == ["0.500", "0.500"]
    assert text["faults"][2][2:] == ["", ""]
    row = ["ms_jaccard_2", "0.5", "0.1", "5%", "0.5", "0.1", "5%", "+0.0"]
    assert text["metrics"] == [row]
    (axis, bar) = draw(lambda: laboratory_page.smallest_figure(table())).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ms_jaccard_2"]
    assert bar.get_yticklabels()[0].get_text() == "≤ .001"


def reading(metric: str, source: str) -> Reading:
    runs = [SimpleNamespace(params={"corpus.source": source})]
    return cast(Reading, SimpleNamespace(board=SimpleNamespace(metric=metric), seeds=runs))


def test_a_report_names_what_its_score_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    known = json.loads(json.dumps(laboratory_page.smallest(table())))
    monkeypatch.setattr(laboratory, "_packaged", lambda: known)
    assert [*laboratory.missed(reading("eval/ms_jaccard_2", "grammar"))] == [
        "`ms_jaccard_2` (1,000 sentences of the built-in grammar) does not see truncation at any "
        "dose; shuffled words below dose .46; lost modes below dose .32; repeats below dose .1 "
        "(`textgan metrics try ms_jaccard_2`)."
    ]
    assert not [*laboratory.missed(reading("eval/ms_jaccard_2", "my.txt"))]
    assert not [*laboratory.missed(reading("eval/ms_jaccard_2", "lstm_oracle"))]
    assert not [*laboratory.missed(reading("eval/jsd", "grammar"))]


def test_real_text_counts_as_captions() -> None:
    (said,) = laboratory.missed(reading("eval/bleu_2", "mine.txt"))
    assert said.startswith("`bleu_2` (1,000 sentences of captions) does not see ")
