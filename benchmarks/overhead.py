"""What a study costs beyond its runs: the queue, the plan, the record of the study itself.

The same configurations are trained by a study with one worker; time spent inside training is
subtracted. CPU time of this process, so that a busy machine does not decide. Prints one JSON
document; `overhead` is the machinery's share for runs of a minute, a short one.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from core.tracking.mlflow_store import open_tracker
from experiments.single_run.run import run
from studies.definition import load_study
from studies.running.execute import begin, work
from studies.running.storage import storage_url
from variants import registry

FILE = Path(__file__).parents[1] / "experiments" / "smoke" / "design_axes.toml"
RUNS = ["study.seeds=1", "study.axes.next_input=['noise']", "train.updates=2", "evaluation.every=2"]
MINUTE = 60.0


def main() -> None:
    inside: list[float] = []

    def timed(*arguments: Any, **named: Any) -> Any:
        begun = time.process_time()
        try:
            return run(*arguments, **named)
        finally:
            inside.append(time.process_time() - begun)

    study = load_study(FILE, RUNS, registry())
    with tempfile.TemporaryDirectory() as folder:
        tracker = open_tracker(f"sqlite:///{folder}/mlflow.db")
        url = storage_url(tracker)
        begun = time.process_time()
        begin(study, "overhead", tracker, url, "")
        work("overhead", tracker, url, timed, registry())
        whole = time.process_time() - begun
    a_run = (whole - sum(inside)) / len(inside)
    document = {
        "name": "study_overhead",
        "ratio": whole / sum(inside),
        "fast_s": sum(inside) / len(inside),
        "plain_s": whole / len(inside),
        "unit": "CPU seconds a run of two updates, without and with the study around it",
        "repeats": len(inside),
        "machinery_s_a_run": a_run,
        "overhead": a_run / MINUTE,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
