"""`textgan metrics`: the list, a small trial from end to end, and words for every fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.metrics.catalogue import CATALOGUE
from core.metrics.laboratory import DOSES
from core.text.grammar import grammar
from tests.experiments.test_cli import textgan


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "mine.txt"
    sentences = grammar("easy").sample(300, 5)
    file.write_text("\n".join(" ".join(sentence) for sentence in sentences))
    return str(file)


def test_the_list_has_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = textgan("metrics", "--json", capsys=capsys)
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)}
    assert [*rows] == [*CATALOGUE]
    assert rows["bleu_2"]["direction"] == "higher"
    assert rows["bleu_2"]["bounds"] == [0, 1]
    assert rows["bleu_2"]["needs"]["references"] is True
    assert rows["valid"]["needs"]["oracle"] is True
    assert rows["ngram_entropy_2"]["bounds"] == [0, None]
    assert (rows["bleu_2"]["in_runs"], rows["lm"]["in_runs"]) == (True, False)
    code, out, _ = textgan("metrics", capsys=capsys)
    assert code == 0
    assert all(name in out for name in CATALOGUE)
    (line,) = (each for each in out.splitlines() if each.startswith("lm "))
    assert "not in runs" in line


def test_a_trial_of_a_metric(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--n", "30,20", "--faults", "truncation,repeats", "--text", text)
    code, out, err = textgan("metrics", "try", "length", *small, "--json", capsys=capsys)
    assert code == 0, err
    found = json.loads(out)
    assert found["metrics"] == ["length"]
    assert [*found["texts"]] == ["grammar", "mine.txt"]
    assert found["doses"] == [*DOSES]
    table = found["texts"]["grammar"]
    assert [*table["sheets"]] == ["20", "30"]
    assert table["planted"]["truncation"][0] > 0.5
    assert found["texts"]["mine.txt"]["planted"]["truncation"][0] is None
    seen = table["sheets"]["30"]["faults"]
    assert seen["truncation"]["length"]["trend"] == "falls"
    assert seen["truncation"]["length"]["smallest"] in DOSES
    assert isinstance(found["drift"]["grammar"]["length"], float)


def test_a_trial_of_a_group_as_a_table(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--n", "20", "--faults", "truncation", "--text", text)
    code, out, err = textgan("metrics", "try", "oracle", *small, capsys=capsys)
    assert code == 0, err
    assert "valid on grammar, 20 sentences: real text 1.0000" in out
    assert "power at dose 10%" in out
    assert "valid on mine.txt: undefined" in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bluu_2", "no metric 'bluu_2'; did you mean 'bleu_2'?"),
        ("nll_gen", "nll_gen needs the generator itself, not only its sentences"),
        ("length --faults repeat", "no fault 'repeat'; did you mean 'repeats'?"),
        ("length --n 10,x", "--n 10,x: whole numbers from 20, with commas, such as 1000,10000"),
        ("length --n 100 --text TEXT", "enough for samples of at most 60; 500 are needed"),
        ("length --n 20 --text none.txt", "none.txt"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_in_words(
    given: str, said: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = given.replace("TEXT", text).split()
    code, out, err = textgan("metrics", "try", *words, capsys=capsys)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") <= 2
