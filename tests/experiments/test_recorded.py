"""What a run records for MLflow's own pages: models, data, source, use of the machine."""

from __future__ import annotations

import getpass
from collections import Counter
from types import SimpleNamespace

import psutil
import pytest
import torch

from core.tracking.locations import local_path
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from experiments import environment
from experiments.environment import Usage
from experiments.generate import load_generator
from experiments.single_run.checkpoints import sampler_of
from experiments.single_run.run import run
from tests.conftest import tiny

KEEPING = ("evaluation.keep_best=eval/ms_jaccard_2", "train.keep_at=[1, 2]", "train.log_every=1")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowTracker, str]:
    folder = tmp_path_factory.mktemp("store")
    tracker = open_tracker(f"sqlite:///{folder}/mlflow.db")
    return tracker, run(tiny(*KEEPING), tracker=tracker, test=True).run_id


@pytest.mark.slow
def test_kept_checkpoints_are_models_with_their_scores(
    recorded: tuple[MlflowTracker, str],
) -> None:
    tracker, run_id = recorded
    client = tracker.store.client
    stored = client.get_run(run_id)
    steps = {each.model_id: each.step for each in stored.outputs.model_outputs}
    models = {m.name: m for m in client.search_logged_models([stored.info.experiment_id])}
    best = int(stored.data.tags["best"].rpartition(" ")[2])
    own = stored.info.run_name.replace(" ", "-")
    kept = {f"{own}-update-{step}": step for step in {1, 2, best} - {4}}
    assert {name: steps[m.model_id] for name, m in models.items()} == {own: 4, **kept}

    of_last = {m.key: m for m in models[own].metrics}
    assert of_last["eval/unique"].value == stored.data.metrics["eval/unique"]
    assert of_last["eval/unique"].step == 4
    assert of_last["eval/unique"].dataset_name == "grammar validation"
    assert of_last["test/unique"].dataset_name == "grammar test"
    at_two = {m.key: m.value for m in models[f"{own}-update-2"].metrics}
    assert at_two["eval/unique"] == dict(tracker.history(run_id, "eval/unique"))[2]
    assert not models[f"{own}-update-1"].metrics, "nothing was evaluated there"
    assert not [key for key in of_last if not key.startswith(("eval", "test"))]
    for key in ("eval/unique", "test/unique"):
        steps_of = Counter(step for step, _ in tracker.history(run_id, key))
        assert set(steps_of.values()) == {1}, "no point of the run is stored twice"


@pytest.mark.slow
def test_the_models_are_those_of_their_updates(recorded: tuple[MlflowTracker, str]) -> None:
    tracker, run_id = recorded
    client = tracker.store.client
    found = client.search_logged_models([client.get_run(run_id).info.experiment_id])
    place = next(m.artifact_location for m in found if m.name.endswith("update-2"))
    own = tracker.model(run_id)
    logged = local_path(place)
    assert logged is not None
    (folder,) = (logged / "artifacts").iterdir()
    at_two = load_generator(folder).sample(5, seed=3)
    assert at_two == sampler_of(tracker, run_id, "2").sample(5, seed=3)
    assert at_two != load_generator(own).sample(5, seed=3)


@pytest.mark.slow
def test_splits_user_and_source_are_recorded(recorded: tuple[MlflowTracker, str]) -> None:
    tracker, run_id = recorded
    stored = tracker.store.client.get_run(run_id)
    logged = {
        tag.value: each.dataset.name for each in stored.inputs.dataset_inputs for tag in each.tags
    }
    assert logged == {
        "training": "grammar", "validation": "grammar validation", "test": "grammar test",
    }  # fmt: skip
    tags = stored.data.tags
    assert tags["mlflow.user"] == getpass.getuser()
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("textgan run", "LOCAL")


@pytest.mark.slow
def test_a_run_has_system_metrics_of_its_end(recorded: tuple[MlflowTracker, str]) -> None:
    tracker, run_id = recorded
    metrics = tracker.run(run_id).metrics
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/process_memory_usage_megabytes"] > 50
    assert tracker.history(run_id, "system/cpu_utilization_percentage")[-1][0] == 4


def test_the_machine_is_sampled_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(environment.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (25_000_000, 100_000_000))
    usage = Usage(torch.device("cuda"))
    assert usage.sample() == {}
    clock.now += 10
    found = usage.sample()
    assert found["system/gpu_0_memory_usage_megabytes"] == 75
    assert found["system/gpu_0_memory_usage_percentage"] == 75
    assert usage.sample() == {}
    assert usage.sample(last=True)

    def fails(*_: object) -> None:
        raise psutil.AccessDenied

    clock.now += 10
    monkeypatch.setattr(psutil, "virtual_memory", fails)
    assert usage.sample() == {}, "a machine that does not answer does not end a run"
