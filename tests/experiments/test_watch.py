"""`textgan watch` shows what other processes do, and ends with the study or quietly by Ctrl-C."""

from __future__ import annotations

import socket

import optuna
import pytest

from core.tracking.mlflow_store import MlflowTracker, open_tracker
from core.tracking.protocol import study_run
from experiments import study_output
from experiments.ui import ADDRESS, show_links, ui_address
from studies.running.execute import begin
from studies.running.queue import load_queue
from studies.running.storage import storage_url
from tests.experiments.test_cli import textgan
from tests.studies.test_studies import NAME, plan

FEW = ('study.axes.next_input=["noise"]', "study.seeds=2")  # 4 variants, 8 runs
Begun = tuple[MlflowTracker, optuna.Study]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A study of 8 runs: one has ended, one is training, one was just taken."""
    tracker = open_tracker(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    begin(plan(*FEW), NAME, tracker, storage_url(tracker), "")
    queue = load_queue(NAME, storage_url(tracker))
    ended, training, _ = queue.ask(), queue.ask(), queue.ask()
    queue.tell(ended, 0.5)
    run = tracker.start_run(NAME, "r", params={"train.updates": 2000}, tags={"level": "seed"})
    run.log_metrics({"train/updates_per_second": 3.0, "eval/ms_jaccard_2": 0.25}, 400)
    run.log_metrics({"train/updates_per_second": 3.0}, 410)
    assert run.flush()
    training.set_user_attr("run_id", run.run_id)
    return tracker, queue


@pytest.fixture
def begun(stored: Begun, monkeypatch: pytest.MonkeyPatch) -> Begun:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stored[0].uri)
    monkeypatch.setattr(study_output.stdout, "width", 80)
    return stored


def test_one_picture_says_what_a_study_is_doing(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    _, queue = begun
    code, out, err = textgan("watch", NAME, "--once", capsys=capsys)
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"{NAME}: 1 of 8 runs ended, 2 running, 5 to come"
    assert lines[1].startswith("best 0.5000 (noise · ")
    assert lines[1].endswith(" left")
    assert lines[2].split() == ["running", "seed", "update", "eval/ms_jaccard_2"]
    assert lines[3].split()[-5:] == [str(queue.trials[1].user_attrs["seed"]), "410", "of", "2000",
                                     "0.2500"]  # fmt: skip
    assert lines[4].split()[-2:] == ["begins", "-"]
    assert out.endswith("\n")


def test_ctrl_c_ends_it_quietly(
    begun: Begun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study_output.time, "sleep", interrupt)
    code, _, err = textgan("watch", NAME, capsys=capsys)
    assert (code, err) == (0, "")


def test_an_unknown_study_gets_words_and_no_storage_is_made(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = textgan("watch", "design_axis", capsys=capsys)
    assert code == 2
    assert err.strip() == f"textgan: no study 'design_axis'; did you mean '{NAME}'?"


def test_links_are_those_of_the_ui_that_runs(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker, file = begun[0], begun[0].store_dir / ADDRESS
    show_links(tracker, [NAME])
    before = capsys.readouterr().err
    assert "start textgan ui" in before
    assert "runs: http://127.0.0.1:5000/#/experiments/1/runs?" in before
    assert "samples of all runs: http://127.0.0.1:5000/#/experiments/1/runs?" in before
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = "http://{}:{}".format(*server.getsockname())
        file.write_text(f"{address}\n{tracker.store_dir}")
        show_links(tracker, [NAME])
        now = capsys.readouterr().err
        assert "start textgan ui" not in now
        assert now.count(address) == len(now.splitlines()) == 2
        file.write_text(f"{address}\n/another/store")
        assert ui_address(tracker) is None, "a copy of the store, with the file of the original"
        file.write_text(f"{address}\n{tracker.store_dir}")
    assert ui_address(tracker) is None, "it was killed, and nobody listens there"


def test_watching_ends_with_the_study(
    begun: Begun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker, _ = begun
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            tracker.continue_run(study_run(tracker, NAME).run_id).finish("ok")

    monkeypatch.setattr(study_output.time, "sleep", sleep)
    monkeypatch.setattr("experiments.console.LINE_SECONDS", 0)
    code, out, err = textgan("watch", NAME, capsys=capsys)
    assert code == 0
    assert len(looks) == 3
    assert out.count("2 running") == 1, "the picture once, at the end"
    assert len(err.splitlines()) == 3, "a line a minute before"
    assert err.startswith(f"{NAME}: 1 of 8 runs ended, 2 running, 5 to come, best 0.5000 (")
