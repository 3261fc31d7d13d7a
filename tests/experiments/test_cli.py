"""The command line as a person meets it: results and JSON of every command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from core.errors import MachineError
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import Tracker
from experiments.cli import status
from experiments.commands.run import _train
from experiments.single_run import run as single_run
from experiments.single_run.session import Result
from tests.conftest import ROOT

SMOKE = str(ROOT / "experiments" / "smoke" / "run.toml")


STUDY = str(ROOT / "experiments" / "smoke" / "design_axes.toml")


QUICK = [
    "--set",
    "train.updates=2",
    "--set",
    "evaluation.every=1",
    "--set",
    "train.batch_size=4",
    "--set",
    "evaluation.sentences=90",  # fewer than jsd_bound needs
    "--set",
    "corpus.sentences=1000",
]


KEYS = {
    "eval/valid", "eval/oracle_nll", "eval/entropy", "eval/template_tv", "eval/unique",
    "eval/distinct_2", "eval/copied",
    *(f"eval/{name}_{n}" for name in ("bleu", "self_bleu") for n in (2, 3, 4, 5)),
}  # fmt: skip


def textgan(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = status(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_store_that_does_not_answer_leaves_a_line_and_no_values_of_real_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(key: str) -> None:
        raise MachineError("http://tracker:5000 does not answer")

    ended = Result("0" * 32, "ok", 3, 1.0, {"eval/bleu_2": 0.25})
    monkeypatch.setattr(single_run, "run", lambda config, **_: ended)
    _train(None, cast(Tracker, SimpleNamespace(run=away)), "0" * 32, json=False)
    out, err = capsys.readouterr()
    assert "no values of real text: http://tracker:5000 does not answer" in err.splitlines()
    assert out.splitlines()[1].split()[:3] == ["eval/bleu_2", "0.2500", "-"]


def test_a_run_from_start_to_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = textgan("run", SMOKE, "--json", "--seed", "3", *QUICK, capsys=capsys)
    assert code == 0, err
    assert "grammar: 1,000 of 1,000 sentences kept" in err
    result = json.loads(out)
    assert set(result) == {"run_id", "outcome", "updates", "seconds", "metrics"}
    assert set(result["metrics"]) >= KEYS
    assert result["updates"] == 2
    run = result["run_id"][:8]
    code, again, _ = textgan("run", "--resume", run, "--json", capsys=capsys)
    assert code == 0, _
    assert json.loads(again) == result
    code, out, _ = textgan("run", "--resume", run, capsys=capsys)
    header, *rows = out.splitlines()
    assert "real text" in header
    assert {row.split()[0] for row in rows} == {
        key for key, value in result["metrics"].items() if value is not None
    }
    assert next(row for row in rows if "eval/entropy" in row).split()[1:3] == (
        [f"{result['metrics']['eval/entropy']:.4f}"] * 2
    )
    code, out, _ = textgan("sample", run, "-n", "3", "--seed", "1", "--json", capsys=capsys)
    sentences = json.loads(out)["sentences"]
    assert len(sentences) == 3
    code, out, _ = textgan("sample", run, "-n", "3", "--seed", "1", capsys=capsys)
    assert out.splitlines() == sentences
    code, out, _ = textgan("runs", "--json", capsys=capsys)
    assert [row["run_id"] for row in json.loads(out)] == [result["run_id"]]
    code, out, _ = textgan("runs", "--csv", capsys=capsys)
    assert out.startswith("run_id,study,variant,seed,outcome")
    description = open_tracker().run(run).tags["mlflow.note.content"]
    assert f"`textgan reproduce {run}`" in description
    shown = [line for line in description.splitlines() if line.startswith("1. `")]
    assert len(shown) == 10


@pytest.mark.slow
def test_a_study_with_two_workers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.estimate.SECONDS", 0.05)
    monkeypatch.setattr("experiments.estimate.CALIBRATED", 1)
    axes = [
        "--set",
        'study.axes.next_input=["noise"]',
        "--set",
        'study.axes.noise_mapping=["full"]',
    ]
    small = ["--set", "evaluation.every=2"]
    arguments = ["study", STUDY, *axes, *QUICK, *small, "--set", "study.seeds=2"]
    code, out, err = textgan(*arguments, "--workers", "2", "--json", capsys=capsys)
    assert code == 0, err
    document = json.loads(out)
    assert {row["variant"] for row in document["leaderboard"]} == {
        "noise · detached · full", "noise · gumbel_softmax · full",
    }  # fmt: skip
    assert (document["runs"], document["failed"]) == (4, 0)
    assert all(row["seeds"] == 2 for row in document["leaderboard"])
    code, out, _ = textgan("report", document["study"], "--json", capsys=capsys)
    assert json.loads(out)["leaderboard"] == document["leaderboard"]
    for again in (arguments, ["study", document["study"]]):
        code, out, _ = textgan(*again, "--resume", "--json", capsys=capsys)
        assert (json.loads(out)["study"], json.loads(out)["runs"]) == (document["study"], 4)
    code, out, _ = textgan(
        "report", document["study"], "--output", str(tmp_path / "r"), capsys=capsys
    )
    assert (tmp_path / "r" / "report.html").stat().st_size > 10_000
    code, out, _ = textgan("study", STUDY, *QUICK, *small, "--dry-run", "--json", capsys=capsys)
    assert json.loads(out)["runs"] == 12


def test_a_dry_run_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", STUDY, "--dry-run", "--no-estimate"]
    code, out, err = textgan(*arguments, "--json", capsys=capsys)
    assert (code, json.loads(out)["seconds"]) == (0, None), err
    code, out, _ = textgan(*arguments, capsys=capsys)
    assert "time" not in out.splitlines()[-1]
    assert not [*Path().iterdir()]


def test_variants_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = textgan("variants", "--json", capsys=capsys)
    listed = json.loads(out)
    assert set(listed["sampling"][0]) == {"name", "summary", "paper", "needs", "offers"}
    assert {row["name"] for row in listed["next_input"]} >= {"noise", "last_token", "fixed_token"}
    assert textgan("variants", "check", "sampling.detached", capsys=capsys)[0] == 0
    _, out, _ = textgan("doctor", "--json", capsys=capsys)
    assert json.loads(out)["problem"] is None


def test_corpus_build_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "c")
    arguments = ["corpus", "build", "grammar", "--output", folder, "--set", "corpus.sentences=200"]
    code, _, err = textgan(*arguments, capsys=capsys)
    assert code == 0
    assert "grammar: 200 of 200 sentences kept; " in err
    assert f"--set corpus.source={folder}" in err
    code, out, _ = textgan("corpus", "show", folder, "--json", capsys=capsys)
    assert json.loads(out)["kept"] == 200
    code, _, err = textgan(*arguments, capsys=capsys)
    assert code == 2
    assert "exists already" in err
