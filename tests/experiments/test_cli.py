"""The command line as a person meets it: results, JSON, words for every fault, exit statuses."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from importlib.metadata import version
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


@pytest.mark.parametrize(
    "command",
    ["", "run", "study", "report", "worker", "sample", "evaluate", "corpus", "corpus build",
     "corpus show", "corpus fetch", "metrics", "metrics try", "variants", "runs", "ui",
     "doctor", "sync", "watch"],
)  # fmt: skip
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = textgan(*command.split(), "--help", capsys=capsys)
    assert code == 0
    assert "Usage" in out
    if command not in ("", "corpus"):
        assert "Examples" in out


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


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("textgan st", "study"),
        ("textgan run ml", "mle"),
        ("textgan run fil", "file.toml"),
        ("textgan variants samp", "sampling"),
        ("textgan corpus fetch capt", "captions"),
        ("textgan run --dev", "--device"),
    ],
)
def test_the_shell_completes(
    typed: str,
    offered: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("file.toml").touch()
    monkeypatch.setattr(sys, "argv", ["textgan"])
    monkeypatch.setenv("_TEXTGAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with contextlib.suppress(SystemExit):
        status()
    assert offered in capsys.readouterr().out.split()


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


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("run mle.toml --seed 1 --device cpu --seed=2", "--seed"),
        ("sample absent -n 3 -n4", "-n"),
        ("corpus build a --output b --output c", "--output"),
    ],
)
def test_an_option_that_is_given_twice_gets_a_warning(
    command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = textgan(*command.split(), capsys=capsys)
    assert err.startswith(f"textgan: warning: {name} is given twice; the last one counts\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evaluate a --references b --metrics absent --metrics bleu", "absent"),
        ("metrics try bleu --faults absent --faults repeats", "no fault 'absent'"),
        ("metrics try bleu --n none --n 1000", "--n none,1000"),
        ("sweep a --temperatures none --temperatures 1", "--temperatures none,1"),
    ],
)
def test_all_values_of_a_repeated_option_count(
    command: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = textgan(*command.split(), capsys=capsys)
    assert code == 2
    assert words in err
    assert "warning" not in err


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


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = textgan("--version", capsys=capsys)
    assert (code, out) == (0, f"textgan {version('textgan-lab')}\n")


@pytest.mark.parametrize("command", ["run", "study", "report", "runs list", "sample", "ui"])
def test_help_has_no_types_of_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = textgan(*command.split(), "--help", capsys=capsys)
    assert code == 0
    assert "--help" in out
    assert "<bool>" not in out


def test_paragraphs_of_help_fill_the_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = textgan("watch", "--help", capsys=capsys)
    assert "and the time left, until the study ends." in out
    _, out, _ = textgan("--help", capsys=capsys)
    assert "optimiser moments, random streams, order of the data." in out


BAD = [
    (["run", "gan_textgan"], "did you mean 'gan_textgen'"),
    (["run", "nothing.toml"], "no such file"),
    (["run"], "run: give a system"),
    (["run", STUDY], "this is a study"),
    (["study", SMOKE], "no [study] table"),
    (["run", SMOKE, "--set", "train.updatez=1"], "did you mean 'updates'"),
    (["run", SMOKE, "--set", "sampling.name=categorical"], "needs score function"),
    (["run", SMOKE, "--set", "corpus.source=empty.txt"], "is empty"),
    (["run", SMOKE, "--set", "corpus.source=binary.txt"], "binary"),
    (["run", SMOKE, "--set", "corpus.source=latin.txt"], "not UTF-8"),
    (["run", SMOKE, "--set", "corpus.source=absent.txt"], "no such file or folder"),
    (["run", SMOKE, "--set", "corpus.sentences=60", "--set", "train.batch_size=64"],
     "train.batch_size = 64"),
    (["run", SMOKE, "--set", "corpus.vocabulary_limit=1"], "corpus.vocabulary_limit = 1"),
    (["run", SMOKE, "--set", "model.length=3"], "corpus.max_words = 2"),
    (["run", "--resume", "nothing"], "no run 'nothing'"),
    (["sample", "nothing"], "no run 'nothing'"),
    (["report", "nothing"], "no study 'nothing'"),
    (["study", STUDY, "--resume"], "to resume"),
    (["study", "nothing", "--resume"], "no study 'nothing'"),
    (["study", "nothing"], "nothing: no such file"),
    (["corpus", "show", "."], "not a corpus"),
    (["variants", "samplings"], "did you mean 'sampling'"),
    (["variants", "check", "sampling.detach"], "did you mean 'detached'"),
    (["run", SMOKE, "--device", "tpu"], "tpu"),
    (["nothing"], "no command 'nothing'; textgan --help lists the commands"),
    (["train", "mle"], "no command 'train'; did you mean 'run'?"),
    (["reprot"], "Did you mean 'report'"),
    (["run", "mle", "--set", "lr=1e-3"], "--set lr=1e-3: lr: unknown key; did you mean train."),
    (["run", "mle", "--set", "batch_size=4"], "did you mean train.batch_size?"),
    (["run", "mle", "--set", "train.updates=x"], "--set train.updates=x: train.updates = 'x'"),
    (["run", "mle", "--set", "trian.updates=5"], "textgan: --set trian.updates=5: trian: unknown"),
    (["run", "mle", "--set", "study.seeds=3"], "textgan: --set study.seeds=3: study: unknown key"),
    (["run", "mle", "--set", "train.keep_every=20"], "--set train.keep_every=20: [train]: keep_"),
    (["run", "mle", "--set", "sampling=detached"], "--set sampling=detached: schedule.name ="),
    (["run", "mle", "--set", "sampling.name=detached", "--set", "schedule.name=adversarial"],
     "textgan: --set schedule.name=adversarial: schedule.name = 'adversarial' needs [esti"),
    (["corpus", "build", "x", "--output", "y", "--set", "corpus.reader=cvs"],
     "textgan: --set corpus.reader=cvs: corpus.reader = 'cvs': must be auto"),
    (["study", STUDY, "--set", "study.kind=1"], "--set study.kind=1: study.kind"),
    (["study", STUDY, "--no-estimate"], "--no-estimate is for --dry-run"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a)[-60:] for a, _ in BAD])
def test_bad_input_gets_words_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.txt").write_bytes(b"")
    Path("binary.txt").write_bytes(b"PK\0\1\2")
    Path("latin.txt").write_bytes("ein s\xfc\xdfes Lied\n".encode("latin-1"))
    code, out, err = textgan(*arguments, capsys=capsys)
    assert code == 2, err
    assert out == ""
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert not list(Path("mlruns").glob("corpora/.*"))


def test_an_unwritable_store_is_the_machines_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    code, _, err = textgan("run", SMOKE, capsys=capsys)
    assert code == 1
    assert "cannot be written" in err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path))
    code, _, err = textgan("run", SMOKE, capsys=capsys)
    assert code == 2
    assert "sqlite:///" in err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x/checkpoint.safetensors"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_gets_words(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("core.training.checkpoint.write", full)
    code, out, err = textgan("run", SMOKE, *QUICK, capsys=capsys)
    assert (code, out) == (1, "")
    assert "no space left" in err
    assert ("x/checkpoint.safetensors" if isinstance(error, OSError) else "mlruns/mlflow.db") in err
    assert "Traceback" not in err
    assert open_tracker().runs("runs")[0].outcome == "failed"


def test_help_is_quick_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    script = (
        "import sys, experiments.cli; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]", "the command line must not import what only commands need"
    debug = subprocess.run(
        [sys.executable, "-m", "experiments", "run", "nothing"],
        cwd=tmp_path,
        env={**os.environ, "TEXTGAN_DEBUG": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run mle --seed x", "--seed x: must be a whole number"),
        ("run mle --seed -1", "--seed -1: must be 0 or more"),
        ("ui --port 99999", "--port 99999: must be 65,535 or less"),
        ("study x.toml --minutes a", "--minutes a: must be a number"),
        ("run mle --device gpu", "--device gpu: 'gpu' is not one of 'auto', 'cpu', 'cuda'"),
    ],
)
def test_a_wrong_value_of_an_option_is_said_in_our_words(
    command: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert textgan(*command.split(), capsys=capsys) == (2, "", f"textgan: {words}\n")
