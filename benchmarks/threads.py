"""Updates a second of one machine, by how its cores are shared: processes times threads of each.

    python -m benchmarks.threads

The original scaled down (study `design_axes`), and at its own sizes with batch 16. Every process
trains for itself, as the workers of a study do. A busy machine distorts the clock, so CPU seconds
per update are shown too: two threads can at best take half of them. Threads sleep while they wait
for each other (not their default), so that waiting is not counted as work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.sizes import CPU, Sentences, Setting
from core.config import Config, parse, read_toml
from core.process import keep_freed_memory
from core.training.loop import train_phase
from core.training.players import build
from core.training.state import TrainingState
from core.types import Progress
from variants import registry

DESIGN_AXES = Path(__file__).parents[1] / "experiments" / "studies" / "design_axes.toml"
UPDATES = {"design_axes": 5, "original": 1}  # after one to warm up
LAYOUTS = ((1, 1), (1, 2), (2, 1))  # processes, threads of each


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=UPDATES, action="append")
    parser.add_argument("--threads", type=int, help="be one of the processes")
    asked = parser.parse_args()
    if asked.threads:
        print(json.dumps(trained(asked.model[0], asked.threads)))
        return
    for model in asked.model or UPDATES:
        for processes, threads in LAYOUTS:
            found = side_by_side(model, processes, threads)
            document = {
                "name": f"threads: {model}",
                "processes": processes,
                "threads": threads,
                "updates_a_second": sum(1 / wall for _, wall in found),
                "cpu_s_an_update": sum(cpu for cpu, _ in found) / processes,
                "updates_a_second_at_best": processes * threads * processes
                / sum(cpu for cpu, _ in found),
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0],
            }  # fmt: skip
            print(json.dumps(document), flush=True)


def side_by_side(model: str, processes: int, threads: int) -> list[tuple[float, float]]:
    """CPU and wall seconds an update of each of the processes, which run at once."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.threads",
        "--model",
        model,
        "--threads",
        str(threads),
    ]
    patient = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=patient) for _ in range(processes)
    ]
    answers = [json.loads(each.communicate()[0]) for each in started]
    return [(cpu, wall) for cpu, wall in answers]


def trained(model: str, threads: int) -> tuple[float, float]:
    """CPU and wall seconds of one update."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    setting = Setting(batch=16)
    config = setting.config()
    if model == "design_axes":
        config = design_axes()
        length, batch = config.model.length, config.train.batch_size
        setting = Setting(batch=batch, length=length, vocabulary=100)
    players = build(config, registry(), setting.vocabulary, CPU)
    state = TrainingState(config, players, Sentences(setting), CPU)  # type: ignore[arg-type]

    def update() -> None:
        for phase in players.schedule.phases(Progress(0, {})):
            train_phase(state, phase)

    update()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(UPDATES[model]):
        update()
    taken = time.process_time() - cpu, time.perf_counter() - wall
    return taken[0] / UPDATES[model], taken[1] / UPDATES[model]


def design_axes() -> Config:
    """The first variant of the study."""
    tables = {key: value for key, value in read_toml(DESIGN_AXES).items() if key != "study"}
    return parse(tables, registry(), str(DESIGN_AXES))


if __name__ == "__main__":
    main()
