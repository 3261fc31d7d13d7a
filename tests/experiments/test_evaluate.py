"""`textgan evaluate`: baselines, a page, a row of a study; `textgan rate` on that study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.metrics.catalogue import CATALOGUE, GROUPS
from core.metrics.files import Evaluation, Inputs, evaluate
from core.metrics.signature import Signature, of_metric
from core.text.grammar import grammar
from core.text.hashing import hash_of
from experiments import baselines, mle_training
from experiments.evaluation import evaluation_figure
from tests.experiments.test_cli import QUICK, STUDY, textgan


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    g = grammar("easy")
    files = {}
    counts = {"samples": 120, "references": 120, "train": 300}
    for seed, (name, count) in enumerate(counts.items(), start=1):
        files[name] = str(tmp_path / f"{name}.txt")
        text = "\n".join(" ".join(s) for s in g.sample(count, seed))
        Path(files[name]).write_text(text + "\n<b>bold</b> words\n", encoding="utf-8")
    return files


@pytest.mark.slow
def test_all_groups_with_baselines_and_a_page(
    texts: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "UPDATES", 2)
    arguments = [
        "evaluate", texts["samples"], "--references", texts["references"], "--train",
        texts["train"], "--oracle", "grammar:easy", "--html", "page.html", "--json",
    ]  # fmt: skip
    code, out, err = textgan(*arguments, capsys=capsys)
    assert code == 0, err
    document = json.loads(out)
    assert Evaluation.model_validate_json(out, strict=True).model_dump(mode="json") == document
    for name, row in document["metrics"].items():
        assert set(row) == {"value", "low", "high", "samples", "references", "direction",
                            "signature", "reason"}, name  # fmt: skip
        of_document = of_metric(name, Signature.parse(document["signature"]),
                                GROUPS[CATALOGUE[name].group])  # fmt: skip
        assert row["signature"] == str(of_document)
        assert row["value"] is not None, name
    for baseline in ("real", "mle", "unigram", "bigram", "trigram"):
        assert set(document["baselines"][baseline]) == set(document["metrics"])
        for name, bounds in document["baseline_intervals"][baseline].items():
            if bounds is not None:
                assert bounds[0] <= document["baselines"][baseline][name] <= bounds[1], name
        bounded = {n for n, b in document["baseline_intervals"][baseline].items() if b is not None}
        assert {"length", "bleu_4", "self_bleu_4", "distinct_2", "c2st", "reverse_lm"} <= bounded
        assert "sentences of" in document["about"][baseline] or baseline == "real"
    assert "(the best of at most 2) on the training text" in document["about"]["mle"]
    assert "perplexity" in document["about"]["mle"]
    assert document["metrics"]["valid"]["value"] == pytest.approx(120 / 121)
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "<b>bold</b>" not in page
    assert not any("broken split" in warning for warning in document["warnings"])
    code, again, _ = textgan(*arguments, capsys=capsys)
    assert json.loads(again) == document


@pytest.mark.parametrize(("groups", "titles"), [
    (["length"], []),
    (["bleu"], []),
    (["distinct"], ["distinct n-grams over n-grams"]),
    (["bleu", "self_bleu", "distinct"], ["quality and diversity", "distinct n-grams over n-grams"]),
])  # fmt: skip
def test_a_page_has_no_panel_without_its_metrics(groups: list[str], titles: list[str]) -> None:
    text = [*grammar("easy").sample(40, 1)]
    figure = evaluation_figure(evaluate(Inputs(text, text[::-1], baselines=False), groups))
    axes = figure.axes if figure else []
    assert [axis.get_title() for axis in axes] == titles
    assert all(axis.lines for axis in axes)


@pytest.mark.slow
def test_samples_from_elsewhere_join_a_study_and_people_rate(
    texts: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ["--set", 'study.axes.next_input=["noise"]', "--set",
           'study.axes.noise_mapping=["full"]']  # fmt: skip
    code, out, err = textgan("study", STUDY, *one, *QUICK, "--set", "study.seeds=1", "--json",
                             capsys=capsys)  # fmt: skip
    assert code == 0, err
    study = json.loads(out)["study"]
    arguments = ["evaluate", texts["samples"], "--references", texts["references"], "--metrics",
                 "bleu,ms_jaccard", "--log"]  # fmt: skip
    code, _, err = textgan(*arguments, study, capsys=capsys)
    assert code == 0, err
    code, out, _ = textgan("report", study, "--json", capsys=capsys)
    rows = {row["variant"]: row for row in json.loads(out)["leaderboard"]}
    assert rows["samples.txt (imported)"]["score"] > 0
    document = json.loads(out)
    assert document["signature"].startswith("ms_jaccard_2|v:1|n:")
    other = Signature.parse(document["other_signatures"]["samples.txt (imported)"])
    why = Signature.parse(document["signature"]).differences(other)
    assert [each.partition(" ")[0] for each in why] == ["n", "refs"]
    assert textgan(*arguments, "nothing", capsys=capsys)[0] == 2

    said = iter(["1", "x", "2", "=", "q"])
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(said))
    code, out, err = textgan("rate", study, "--rater", "ada", "-n", "6", "--json", capsys=capsys)
    assert code == 0, err
    found = json.loads(out)
    assert (found["answers"], found["raters"], found["agreement"]) == (3, ["ada"], None)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "1")
    textgan("rate", study, "--rater", "bob", "-n", "6", "--kind", "real", capsys=capsys)
    code, out, _ = textgan("rate", study, "--results", "--json", capsys=capsys)
    assert json.loads(out)["answers"] == 9
    assert "real text" in json.loads(out)["preferred"]
    code, out, err = textgan("judge", study, "--results", "--json", capsys=capsys)
    assert (json.loads(out)["answers"], code) == (9, 0)
    assert "textgan judge is now called textgan rate" in err
    assert textgan("rate", study, capsys=capsys)[0] == 2
    code, _, err = textgan("report", study, "--output", "report", capsys=capsys)
    assert code == 0, err
    said = next(Path("report").rglob("*.md")).read_text(encoding="utf-8")
    assert "Human preferences" in said
    assert f"Signature of the scores: `{document['signature']}`." in said
    assert "The score of `samples.txt (imported)` cannot be compared with the others" in said
    assert "9 answers of 2 raters" in said


def test_the_lstm_oracle_scores_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from core.text.oracles import lstm_oracle

    source = lstm_oracle(6, 3)
    file = tmp_path / "drawn.txt"
    lines = [" ".join(words) for words in source.sample(40)]
    file.write_text("\n".join([*lines, "not of it"]) + "\n", encoding="utf-8")
    arguments = ["evaluate", str(file), "--references", str(file), "--metrics", "oracle", "--json"]
    code, out, err = textgan(*arguments, "--oracle", "lstm_oracle:6:3", capsys=capsys)
    assert code == 0, err
    found = json.loads(out)["metrics"]
    assert found["valid"]["value"] == pytest.approx(40 / 41)
    assert found["oracle_nll"]["value"] == pytest.approx(source.nll(source.sample(40)).mean())
    for wrong in ("lstm_oracle:x", "lstm_oracle:0", "lstm_oracle:6:3:1", "grammar:none", "lstm"):
        code, _, err = textgan(*arguments, "--oracle", wrong, capsys=capsys)
        assert code == 2
        assert "lstm_oracle:LENGTH" in err


def test_the_baseline_trains_on_what_a_split_by_hash_left_for_training() -> None:
    text = [s for s in grammar("easy").sample(400, 1) if hash_of(s) / 2**64 >= 0.2]
    test, both = mle_training._shares(text)
    places = [hash_of(s) / 2**64 for s in text]
    assert 0.03 < sum(place < test for place in places) / len(text) < 0.07
    assert 0.03 < sum(test <= place < both for place in places) / len(text) < 0.07


@pytest.mark.parametrize(("words", "updates"), [(2, 1500), (10, 1284), (40, 400)])
def test_a_larger_vocabulary_and_longer_sentences_get_fewer_updates(
    words: int, updates: int
) -> None:
    text = [[f"{n}-{i}" for i in range(words)] for n in range(300)]
    assert baselines.updates_for(text) == updates


def test_evaluate_compares_files_with_the_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"a.txt": "a b c\n" * 9, "b.txt": "b <b>\n" * 10, "c.txt": "a b\n", "r.txt": "a b\n"}
    for name, text in texts.items():
        Path(name).write_text(text)
    arguments = ["evaluate", "a.txt", "b.txt", "c.txt", "--references", "r.txt",
                 "--metrics", "length,unique", "--html", "page.html"]  # fmt: skip
    code, out, err = textgan(*arguments, "--json", capsys=capsys)
    assert code == 0, err
    found = json.loads(out)
    assert found["differences"]["b.txt"]["length"]["value"] == -1
    assert found["differences"]["c.txt"]["unique"] == {
        "value": None, "low": None, "high": None, "paired": False, "reason": "different n (9, 1)"
    }  # fmt: skip
    assert "c.txt minus a.txt" in Path("page.html").read_text()
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = textgan(*arguments, capsys=capsys)
    assert code == 0, err
    assert "b.txt minus a.txt" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "note: c.txt: not subtracted, different n (9, 1): unique" in err
    for wrong, said in ((["a.txt"], "a.txt: given twice"), (["--log", "s"], "--log records one")):
        code, _, err = textgan(*arguments, *wrong, capsys=capsys)
        assert code == 2
        assert said in err


def test_evaluate_scores_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, text in {"s": "a b c\na b\n", "r": "a b c\nb c d\nc d\nd a\n", "t": "a b\n"}.items():
        (tmp_path / name).write_text(text)
    code, out, _ = textgan(
        "evaluate", str(tmp_path / "s"), "--references", str(tmp_path / "r"), "--train",
        str(tmp_path / "t"), "--json", capsys=capsys,
    )  # fmt: skip
    assert code == 0
    document = json.loads(out)
    assert set(document) == {"metrics", "baselines", "baseline_intervals", "about", "warnings",
                             "signature", "baseline_signatures"}  # fmt: skip
    copied = document["metrics"]["copied"]
    assert (copied["value"], copied["samples"], copied["references"]) == (0.5, 2, 4)
    assert copied["direction"] == "lower"
    assert copied["low"] <= 0.5 <= copied["high"]
    assert document["baselines"]["real"]["bleu_2"] > 0
    assert "held-out" in document["warnings"][0]
    code, out, err = textgan(
        "evaluate", str(tmp_path / "s"), "--references", str(tmp_path / "r"), "--metrics", "blue",
        capsys=capsys,
    )  # fmt: skip
    assert code == 2
    assert "did you mean 'bleu'" in err
