"""The files below deploy/, which nobody runs here: their form, and that they name what there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import validate

from experiments.cli import app
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
STRING, TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}


def table(keys: dict[str, Any], *needed: str) -> dict[str, Any]:
    """The JSON schema of a table that has these keys and no other."""
    return {"type": "object", "properties": keys, "required": list(needed),
            "additionalProperties": False}  # fmt: skip


def named(each: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": each}


MOUNT = table({"source": STRING, "target": STRING})
# The part of the Compose specification (compose-spec.json, 2024) that we make use of.
COMPOSE = table(
    {
        "name": STRING,
        "services": named(
            table(
                {
                    "image": STRING,
                    "build": table({"context": STRING, "dockerfile": STRING}),
                    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                    "environment": named({"type": ["string", "number", "null"]}),
                    "command": TEXTS,
                    "configs": {"type": "array", "items": MOUNT},
                    "volumes": TEXTS,
                    "ports": TEXTS,
                    "healthcheck": table(
                        {"test": TEXTS, "interval": STRING, "retries": {"type": "integer"}}
                    ),
                    "depends_on": {
                        "oneOf": [
                            TEXTS,
                            named(table({"condition": {"enum": [
                                "service_started", "service_healthy",
                                "service_completed_successfully",
                            ]}}, "condition")),
                        ]
                    },
                }
            )
        ),
        "configs": named(table({"content": STRING})),
        "volumes": named({"type": "null"}),
    },
    "services",
)  # fmt: skip
# Fields of KubeRay's v1 (rayjob_types.go, raycluster_types.go) and of a pod that we make use of.
COUNT, PARAMETERS = {"type": "integer", "minimum": 0}, named(STRING)
POD = table({"spec": table({"containers": {"type": "array", "minItems": 1, "items": table({
    "name": STRING, "image": STRING,
    "env": {"type": "array", "items": table({"name": STRING, "valueFrom": table({
        "secretKeyRef": table({"name": STRING, "key": STRING}, "name", "key")})}, "name")},
    "resources": table({"limits": named(STRING), "requests": named(STRING)}),
}, "name", "image")}}, "containers")}, "spec")  # fmt: skip
RAY_JOB = table({
    "apiVersion": {"const": "ray.io/v1"}, "kind": {"const": "RayJob"},
    "metadata": table({"name": STRING}, "name"),
    "spec": table({
        "entrypoint": STRING, "shutdownAfterJobFinishes": {"type": "boolean"},
        "ttlSecondsAfterFinished": COUNT, "backoffLimit": COUNT,
        "rayClusterSpec": table({
            "rayVersion": STRING,
            "headGroupSpec": table({"rayStartParams": PARAMETERS, "template": POD},
                                   "rayStartParams", "template"),
            "workerGroupSpecs": {"type": "array", "items": table({
                "groupName": STRING, "replicas": COUNT, "minReplicas": COUNT, "maxReplicas": COUNT,
                "rayStartParams": PARAMETERS, "template": POD,
            }, "groupName", "minReplicas", "maxReplicas", "rayStartParams", "template")},
        }, "headGroupSpec"),
    }),
}, "apiVersion", "kind", "metadata", "spec")  # fmt: skip


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return found


def check_command(words: list[str]) -> None:
    """A command of ours that exists, and whose options do."""
    import typer

    program, command, *rest = words
    assert program == "textgan"
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    options = {option for parameter in known.params for option in parameter.opts}
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in options, word
        if word.endswith(".toml"):
            assert (ROOT / word).exists(), word


def test_compose_has_the_specifications_form() -> None:
    compose = load("compose.yaml")
    services = compose["services"]
    validate({key: value for key, value in compose.items() if not key.startswith("x-")}, COMPOSE)
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)
        for mount in service.get("volumes", []):
            assert mount.split(":")[0] in compose["volumes"]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]
    check_command(services["worker"]["command"])
    published = services["tracking"]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in published), "no other machine sees it"


def test_no_password_is_given() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    named = set(re.findall(r"\$\{(\w+)", text))
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "example.env").read_text().splitlines()
        if not line.startswith("#")
    )
    assert named == set(example)
    assert not any(example.values())


def test_mlflow_servers_options_exist() -> None:
    from mlflow.cli import server

    command = load("compose.yaml")["services"]["tracking"]["command"]
    known = {option for parameter in server.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in command[2:]} <= known


def test_the_ray_job_has_the_operators_form() -> None:
    job = load("kuberay.yaml")
    validate(job, RAY_JOB)
    check_command(shlex.split(job["spec"]["entrypoint"]))
    cluster = job["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert cluster["rayVersion"] == pinned[1]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_slurm_script_is_sound(tmp_path: Path) -> None:
    script = DEPLOY / "slurm.sh"
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: apt-get install shellcheck)")
    subprocess.run(["shellcheck", str(script)], check=True)
    called = re.search(r"^exec \.venv/bin/(textgan .*)$", script.read_text(), re.MULTILINE)
    assert called is not None
    check_command(shlex.split(called[1]))
    alone = subprocess.run([str(script)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert alone.returncode != 0
    assert "usage" in alone.stderr


@pytest.mark.parametrize("name", ["compose.yaml", "slurm.sh", "kuberay.yaml", "Dockerfile"])
def test_each_says_that_it_was_not_run(name: str) -> None:
    head = "\n".join((DEPLOY / name).read_text().splitlines()[:8])
    assert re.search(r"Not (run|built)\s+(#\s+)?in our checks", head)
