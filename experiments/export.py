"""`textgan export`: a study as plain files, or as TensorBoard's event files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from core.errors import InputError
from core.files import new_folder, safe_name
from core.tracking.protocol import RunRecord
from experiments.listing import as_number
from experiments.stored_study import StoredStudy

SCORE = "score"
SAMPLES = "samples.txt"  # artifact of a run
Runs = Iterator[tuple[str, RunRecord]]  # names of their files or folders


def export(study: StoredStudy, to: str, output: Path, advance: Callable[[int, int], None]) -> None:
    """Write a study into the new folder `output`; `advance` hears how many runs of how many are
    done. InputError if the folder is there and not empty, as CSV for a study on several corpora,
    and without the package that the format needs; nothing is written then.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise InputError(f"{output}: exists already; remove it or give another --output")
    if to == "tensorboard" and find_spec("tensorboard") is None:
        raise InputError(
            "--to tensorboard needs the package tensorboard: pip install 'textgan-lab[tensorboard]'"
        )

    def runs() -> Runs:
        for done, run in enumerate(study.records):
            advance(done, len(study.records))
            yield run_name(run), run

    with new_folder(output) as folder:
        (write_tensorboard if to == "tensorboard" else write_csv)(study, runs(), folder)


def run_name(run: RunRecord) -> str:
    """The name of a run's file or folder: readable, and its own through the id in it."""
    variant = safe_name(run.variant.replace(" · ", "-"))
    return f"{variant} seed {run.tags['seed']} {run.run_id[:8]}".strip()


def write_csv(study: StoredStudy, runs: Runs, folder: Path) -> None:
    """`runs.csv`, `curves.csv`, `leaderboard.csv`, and the samples of each run as text."""
    frames = {"leaderboard": study.leaderboard(), "runs": study.runs(), "curves": study.curves()}
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "sentences").mkdir()
    for name, run in runs:
        with suppress(InputError):  # a run that ended before its first evaluation has none
            samples = study.tracker.artifact(run.run_id, SAMPLES)
            shutil.copyfile(samples, folder / "sentences" / f"{name}.txt")


def write_tensorboard(study: StoredStudy, runs: Runs, folder: Path) -> None:
    """A folder of event files for each run: curves as scalars, settings as hyperparameters, samples
    as text. Every event has the time of the run's start.
    """
    from torch.utils.tensorboard.summary import hparams
    from torch.utils.tensorboard.writer import SummaryWriter

    scores = study.runs().set_index("run_id")[SCORE]
    for name, run in runs:
        begun = run.start / 1000
        with SummaryWriter(folder / name) as writer:
            for metric in run.metrics:
                for step, value in study.tracker.history(run.run_id, metric):
                    writer.add_scalar(metric, value, step, begun)
            writer.add_scalar(SCORE, scores[run.run_id], int(run.tags.get("updates", 0)), begun)
            for at, rows in study.sentences(run.run_id).groupby("step"):
                shown = "\n".join(f"    {text}" for text in rows["text"])  # Markdown shows it as is
                writer.add_text("samples", shown, at, begun)
            numbers = {key: as_number(text) for key, text in run.params.items()}
            settings = {k: run.params[k] if x is None else x for k, x in numbers.items()}
            for summary in hparams(settings, {SCORE: None}):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary, walltime=begun)
