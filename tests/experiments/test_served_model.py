"""A run's model by MLflow's own means: loaded in another process' way, and served over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from core.tracking.mlflow_store import open_tracker
from experiments.generate import load_generator
from experiments.single_run.run import run
from tests.conftest import ROOT, tiny

MLFLOW_SECONDS = 120
NAME = "custom-seed-0"


@pytest.mark.slow
def test_the_model_draws_the_same_sentences_loaded_and_served(tmp_path: Path) -> None:
    import mlflow

    tracker = open_tracker()
    run_id = run(tiny(), tracker=tracker).run_id
    expected = load_generator(tracker.model(run_id)).sample(3, temperature=0.7, seed=5)
    asked = {"n": 3, "temperature": 0.7, "seed": 5}

    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/{NAME}")
    for nothing in (None, [], pd.DataFrame(), pd.DataFrame({"prompt": [""]})):
        assert list(model.predict(nothing, params=asked)["text"]) == expected
    assert list(model.predict(pd.DataFrame([asked]))["text"]) == expected
    assert len(model.predict(None)) == 20
    assert len(model.predict(pd.DataFrame({"n": [1, 2]}))) == 3, "a request a row"
    for wrong in ({"n": -5}, {"temperature": 0.0}, {"seed": -1}, {"n": 10**9}):
        ((name, value),) = wrong.items()
        with pytest.raises(MlflowException, match=f"{name} = {value}: must be") as refused:
            model.predict(None, params=wrong)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"

    with served(f"runs:/{run_id}/{NAME}", tracker.uri, tmp_path) as address:
        for request in (
            {"inputs": [], "params": asked},
            {"dataframe_records": [asked]},
        ):
            answer = post(f"{address}/invocations", request)
            assert [row["text"] for row in answer["predictions"]] == expected


@contextmanager
def served(model: str, store: str, tmp_path: Path) -> Iterator[str]:
    """`mlflow models serve --env-manager local`, as a person starts it in an active .venv."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "uvicorn"  # MLflow starts it by its name
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m uvicorn "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": store,
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model,
               "--env-manager", "local", "--port", str(port)]  # fmt: skip
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + MLFLOW_SECONDS
        while not answers(f"{address}/ping"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.25)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def post(address: str, document: dict[str, object]) -> dict[str, list[dict[str, str]]]:
    request = urllib.request.Request(
        address, json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer))
