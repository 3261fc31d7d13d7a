"""Words and exit status for every fault of an input, an option or the machine."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from core.tracking.mlflow_store import open_tracker
from tests.experiments.test_cli import QUICK, SMOKE, STUDY, textgan


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


BAD = [
    (["run", "gan_textgan"], "did you mean 'gan_textgen'"),
    (["run", "nothing.toml"], "no such file"),
    (["run"], "run: give a system"),
    (["run", STUDY], "this is a study"),
    (["study", SMOKE], "no [study] table"),
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
    (["corpus", "build", "x", "--output", "y", "--set", "corpus=foo"],
     "the source is the argument x"),
    (["corpus", "build", "x", "--output", "y", "--set", "corpus.reader=cvs"],
     "textgan: --set corpus.reader=cvs: corpus.reader = 'cvs': must be auto"),
    (["study", STUDY, "--set", "study.kind=1"], "--set study.kind=1: study.kind"),
    (["study", STUDY, "--no-estimate"], "--no-estimate is for --dry-run"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a)[-60:] for a, _ in BAD])
def test_bad_input_gets_words_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
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
