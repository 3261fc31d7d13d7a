"""A store that commit 661bb7b wrote still reports, resumes, samples, serves and reproduces.

The store and what the old code said of it are in `tests/data/store_661bb7b` (see its README).
Numbers of further training are compared to a relative 1e-3, since another processor rounds
otherwise; where the processor is the recorded one, `reproduce` must agree bit for bit.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.config import parse, read_toml
from core.config.renamed import KEYS, hash_of
from core.errors import InputError
from core.tracking.mlflow_store import open_tracker
from docs import results
from experiments import load_study
from experiments.cli import status
from experiments.export import run_name
from tests.conftest import ROOT
from tests.studies.test_rendered_numbers import differences, parts_of, study_parts
from variants import registry

DATA = ROOT / "tests" / "data" / "store_661bb7b"
EXPECTED = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
RECORDED_AT = "/recorded"  # stands in the database for the folder of the store
LOCATIONS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
}
OURS = ("core", "variants", "studies", "experiments")
VALUES = {"train.fakes": {"shared": "True", "fresh": "False"}}
ROWS = {row["run_id"]: row for row in EXPECTED["runs"]}
IDS = {row["variant"]: row["run_id"] for row in EXPECTED["runs"] if row["study"] == "runs"}
STACKED = next(row["run_id"] for row in EXPECTED["runs"] if row["study"] == "stacked")
INTERRUPTED = IDS["interrupted"]
REPEATED = {
    "modern": IDS["modern seed 3"],
    "gan_textgen": IDS["gan_textgen seed 3"],
    "mle": IDS["mle seed 3"],
    "cot": IDS["cot seed 3"],
    "catgan": IDS["catgan seed 3"],
}
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the unpacked store; the tests add runs to it and change nothing else."""
    return unpack(tmp_path_factory.mktemp("recorded"))


def unpack(folder: Path) -> Path:
    """The store in a folder, with the place of everything in it written there."""
    with tarfile.open(DATA / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database:
        for table, column in LOCATIONS.items():
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (RECORDED_AT, str(folder)),
            )
        database.commit()
    return folder


@pytest.fixture(autouse=True)
def _stored(
    room: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """The store, and no warning: nobody can rename what a store holds."""
    monkeypatch.chdir(room)
    yield
    warned = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING and record.name.partition(".")[0] in OURS
    ]
    assert warned == []


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """What a command says as JSON."""

    def said(*words: str) -> Any:
        capsys.readouterr()
        status([*words, "--json"])
        out, err = capsys.readouterr()
        assert out, err
        return json.loads(out)

    return said


def check_metrics(then: Mapping[str, float | None], now: Mapping[str, float | None]) -> None:
    """Metrics agree; new ones may have come since."""
    for key, value in then.items():
        if value is None:
            assert now[key] is None, key
        else:
            assert now[key] == pytest.approx(value, rel=1e-3, abs=1e-9), key


def on_the_recorded_processor() -> bool:
    file = Path("/proc/cpuinfo")
    return file.exists() and EXPECTED["processor"] in file.read_text(encoding="utf-8")


def test_every_run_is_listed_with_its_numbers_under_todays_keys(ask: Ask) -> None:
    found = {row["run_id"]: row for row in ask("runs")}
    for run_id, then in ROWS.items():
        now = found[run_id]
        for key, value in then.items():
            today = VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value
            if key == "device":  # then the setting, now the device of the run
                today = "cpu (x86_64)"
            assert now[KEYS.get(key, key)] == today, key
        assert not KEYS.keys() & now.keys()


def test_a_filter_finds_stored_runs_by_todays_keys(ask: Ask) -> None:
    found = ask("runs", "--filter", "train.reuse_fakes = True and model.mask_after_eos = True")
    assert {row["run_id"] for row in found} == {REPEATED["modern"], INTERRUPTED}


@pytest.mark.parametrize("study", EXPECTED["leaderboards"])
def test_a_study_has_its_leaderboard(ask: Ask, study: str) -> None:
    """With the recorded values; names may have been added."""
    then, now = EXPECTED["leaderboards"][study], ask("report", study)
    assert _of_names(now, then) == then


def _of_names(now: Any, then: Any) -> Any:
    """What is there now of the names that were there."""
    if isinstance(then, dict):
        return {key: _of_names(now[key], value) for key, value in then.items()}
    if isinstance(then, list):
        assert len(now) == len(then)
        return [_of_names(a, b) for a, b in zip(now, then, strict=True)]
    return now


def test_the_reports_hold_the_recorded_numbers(tmp_path: Path) -> None:
    for study in EXPECTED["leaderboards"]:
        file = tmp_path / "summaries" / f"{study}.json"
        assert status(["report", study, "--summary", str(file)]) == 0
    reports = results.reports_of(tmp_path / "summaries")
    now = {key: study_parts(key, report) for key, report in reports.items()}
    _, *then = (DATA / "reports.md").read_text(encoding="utf-8").split("\n## ")
    assert differences({part.split("\n")[0].replace(" ", "_"): parts_of(part) for part in then},
                       now) == []  # fmt: skip
    assert len(then) == len(now) == 3


def test_a_study_goes_on_from_its_stored_definition(ask: Ask) -> None:
    """Rows keep their names, and its runs are known by their settings."""
    planned = ask("study", "stacked", "--resume", "--dry-run")
    assert planned["variants"] == ["generator_rate=0.001", "generator_rate=0.1"]
    assert "runs like these in the store" in planned["estimated_from"]


def test_runs_are_known_by_the_hash_that_they_were_stored_with(room: Path) -> None:
    tracker = open_tracker(f"sqlite:///{room}/mlruns/mlflow.db")
    for run_id in (*REPEATED.values(), INTERRUPTED):
        record = tracker.run(run_id)
        assert "likeness" in record.tags
        config = parse(read_toml(tracker.artifact(run_id, "config.toml")), registry())
        assert hash_of(record.tags) in config.stored_hashes() - {config.config_hash()}


@pytest.mark.slow
def test_a_search_proposes_what_it_would_have(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trials, and what is enqueued, have their parameters under old keys."""
    monkeypatch.chdir(unpack(tmp_path))
    then = EXPECTED["continued"]
    found = ask("study", "search_rates", "--resume", "--trials", "5")
    for row, now in zip(then["leaderboard"], found["leaderboard"], strict=True):
        assert now["variant"] == row["variant"]
        assert now["score"] == pytest.approx(row["score"], rel=1e-3)
    rows = ask("runs", "search_rates")
    for row, now in zip(then["runs"], rows, strict=True):
        for key, value in row.items():
            given = now[KEYS.get(key, key)]
            if key.startswith("train."):  # the last digit depends on the processor
                given, value = float(given), pytest.approx(float(value), rel=1e-12)
            assert given == value, (row["variant"], key)


def test_every_model_draws_the_recorded_sentences(ask: Ask) -> None:
    for run_id, drawn in EXPECTED["samples"].items():
        for at, sentences in drawn.items():
            where = [] if at == "end" else ["--at", at]
            words = ["sample", run_id, "--seed", "7", "-n", "5", *where]
            assert ask(*words)["sentences"] == sentences, (ROWS[run_id]["variant"], at)


def test_a_study_is_read_as_frames(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    study = load_study("card_axes", room / "mlruns")
    then = {run_id: row for run_id, row in ROWS.items() if row["study"] == "card_axes"}
    runs, board = study.runs(), study.leaderboard()
    assert len(runs) == len(then)
    for row in runs.to_dict("records"):
        expected = then[row["run_id"]]
        assert (row["variant"], row["seed"]) == (expected["variant"], expected["seed"])
        assert row["eval/bleu_2"] == expected["eval/bleu_2"]
        assert row["score"] == expected[study.metric]
        assert row["system"] == "card_axes"
    assert runs["train.generator_lr"].dtype == float
    assert runs["train.reuse_fakes"].dtype == bool
    scores = runs.groupby("variant")["score"].mean()
    assert scores[board["variant"]].to_list() == pytest.approx(board["score"].to_list())
    every, only = study.curves(), study.curves("eval/unique")
    assert len(every[every["metric"] == "eval/unique"]) == len(only) == 3 * len(runs)
    run = only[only["step"] == 4].iloc[0]
    assert run["value"] == then[run["run_id"]]["eval/unique"]
    sentences = study.sentences(run["run_id"][:8])
    assert sentences["step"].unique().tolist() == [0, 2, 4]
    assert sentences.index.to_list() == [*range(len(sentences))], "in the order of the frame"
    assert not any(text.startswith("update") for text in sentences["text"])
    drawn = EXPECTED["samples"][run["run_id"]]["end"]
    assert study.model(run["run_id"]).sample(5, seed=7) == drawn


@pytest.mark.parametrize("name", ["card_axes", "search_rates", "stacked"])
def test_numbers_of_a_leaderboard_are_numbers_even_if_none_is_known(name: str) -> None:
    board = load_study(name).leaderboard()
    for column in ("score", "low", "high", "survivors", "survivors_low", "survivors_high"):
        assert board[column].dtype == float, column


def test_a_study_is_known_by_its_id_and_unknown_ones_get_words(tmp_path: Path) -> None:
    own = EXPECTED["leaderboards"]["stacked"]["parent_run_id"]
    study = load_study(own[:8])
    assert study.name == "stacked"
    for wrong, words in [
        (lambda: load_study("stacke"), "no study 'stacke'; did you mean 'stacked'?"),
        (lambda: load_study("zz"), "no study 'zz'; known: card_axes, search_rates, stacked"),
        (lambda: load_study("stacked", tmp_path), "no study 'stacked': there is no store in"),
        (lambda: study.curves("eval/uniqe"), "no metric 'eval/uniqe'; did you mean 'eval/unique'?"),
        (lambda: study.sentences("zz"), "no run 'zz'"),
        (lambda: study.model(own), f"no run '{own}'"),
    ]:
        with pytest.raises(InputError) as caught:
            wrong()
        assert words in str(caught.value)


def test_a_study_is_exported_as_plain_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "plain"
    assert status(["export", "card_axes", "--to", "csv", "--output", str(folder)]) == 0
    study = load_study("card_axes")
    runs, curves, board = (
        pd.read_csv(folder / f"{name}.csv") for name in ("runs", "curves", "leaderboard")
    )
    assert runs["run_id"].to_list() == study.runs()["run_id"].to_list()
    assert runs["eval/bleu_2"].to_list() == study.runs()["eval/bleu_2"].to_list()
    assert curves["value"].to_list() == study.curves()["value"].to_list()
    assert board["variant"].to_list() == study.leaderboard()["variant"].to_list()
    texts = sorted((folder / "sentences").iterdir())
    assert [file.name[:15] for file in texts[:2]] == ["detached seed 0", "detached seed 1"]
    run = study.records[0]
    assert run_name(replace(run, tags={**run.tags, "variant": "a · b/c", "seed": "1"})) == (
        f"a-b_c seed 1 {run.run_id[:8]}"
    )
    last = study.sentences(runs["run_id"][0]).query("step == 4")["text"]
    assert f"  0  {last.iloc[0]}\n" in texts[0].read_text(encoding="utf-8")
    assert [file.name for file in folder.parent.iterdir()] == ["plain"], "nothing temporary"


def test_an_export_that_cannot_be_made_gets_words_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.export.find_spec", lambda _: None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    for study, to, output, words in [
        ("card_axe", "csv", "new", "no study 'card_axe'; did you mean 'card_axes'?"),
        ("card_axes", "csv", "full", "full: exists already; remove it or give another --output"),
        ("card_axes", "csv", "full/kept", "kept: exists already"),
        ("card_axes", "excel", "new", "'excel' is not one of 'csv', 'tensorboard'"),
        ("card_axes", "tensorboard", "new", "pip install 'textgan-lab[tensorboard]'"),
    ]:
        asked = ["export", study, "--to", to, "--output", str(tmp_path / output)]
        assert status(asked) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "Traceback" not in said
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")] == [
        "full",
        "full/kept",
    ]

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.export.write_csv", broken)
    assert status(["export", "card_axes", "--to", "csv", "--output", str(tmp_path / "new")]) == 1
    assert "cannot be written (No space left on device)" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["full"]


def test_a_study_is_exported_as_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "events"
    assert status(["export", "search_rates", "--to", "tensorboard", "--output", str(folder)]) == 0
    study = load_study("search_rates")
    found = sorted(folder.iterdir())
    assert len(found) == len(study.runs()) == 5
    run = next(run for run in study.records if run.run_id[:8] == found[0].name[-8:])
    events = EventAccumulator(str(found[0])).Reload()
    assert {*run.metrics, "score"} <= {*events.Tags()["scalars"]}
    for metric in run.metrics:
        then = dict(study.tracker.history(run.run_id, metric))
        assert {e.step: e.value for e in events.Scalars(metric)} == pytest.approx(then, rel=1e-6)
    (last,) = (e for e in events.Tensors("samples/text_summary") if e.step == 4)
    text = study.sentences(run.run_id).query("step == 4")["text"].iloc[0]
    assert last.tensor_proto.string_val[0].decode().startswith(f"    {text}")
    given = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"train.generator_lr" in given


@pytest.mark.parametrize("system", ["modern", "mle", "cot"])
def test_a_logged_model_is_served(system: str, room: Path) -> None:
    import mlflow

    run_id = REPEATED[system]
    with closing(sqlite3.connect(room / "mlruns" / "mlflow.db")) as database:
        ((place,),) = database.execute(
            "SELECT artifact_location FROM logged_models WHERE source_run_id = ?", (run_id,)
        )
    model = mlflow.pyfunc.load_model(place)
    drawn = model.predict(pd.DataFrame(), params={"n": 5, "seed": 7})
    assert list(drawn["text"]) == EXPECTED["samples"][run_id]["end"]


def test_an_interrupted_run_ends_as_it_would_have(ask: Ask) -> None:
    then = EXPECTED["resumed"]
    found = ask("run", "--resume", INTERRUPTED)
    assert (found["run_id"], found["outcome"], found["updates"]) == (
        INTERRUPTED, then["outcome"], then["updates"]
    )  # fmt: skip
    check_metrics(then["metrics"], found["metrics"])
    drawn = ask("sample", INTERRUPTED, "--seed", "7", "-n", "5")
    if on_the_recorded_processor():
        assert found["metrics"].items() >= then["metrics"].items()
        assert drawn["sentences"] == then["samples"]["end"]


@pytest.mark.parametrize("system", REPEATED)
def test_a_run_is_reproduced(ask: Ask, system: str) -> None:
    run_id = REPEATED[system]
    found = ask("reproduce", run_id)
    check_metrics(
        {key: value for key, value in ROWS[run_id].items() if key.startswith("eval/")},
        {row["metric"]: row["now"] for row in found["metrics"]},
    )
    assert EXPECTED["reproduced"][run_id] == "identical"
    if "kernels" in found["differs"]:  # removed since, which is said
        assert "removed" in found["differs"]["kernels"][0]
    elif on_the_recorded_processor():
        assert found["verdict"] == "identical"


def test_a_run_that_was_trained_stacked_cannot_be_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status(["reproduce", STACKED]) == 2
    assert "--stack-seeds" in capsys.readouterr().err


def test_a_run_of_two_processes_is_repeated_with_words(ask: Ask) -> None:
    found = ask("reproduce", IDS["two_processes seed 0"])
    assert found["differs"]["processes"] == ["2", "1"]
