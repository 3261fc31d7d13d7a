"""What commands print and write of a study: progress, rankings, comparisons, reports."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from core.errors import MOST_LISTED, InputError, listed
from core.files import folder_name
from core.plural import count
from core.tracking.protocol import Columns, Tracker, study_run
from experiments.console import interval, log_lines, number, stderr, stdout, table
from experiments.ui import show_links
from studies.analysis.corpora import joint
from studies.analysis.ranking import ranking, under_way
from studies.analysis.runs import duration
from studies.compared import shown
from studies.definition import Study, from_definition
from studies.leaderboard import CORPORA
from studies.report import HTML, build, check_has_rows, on_corpora, register, upload
from studies.running.queue import Progress, failures, latest, load_queue, progress
from studies.sections import Reading, p_value
from variants import registry

LEADERBOARD = ("", "variant", "score", "95% interval", "valid", "outcomes", "against the first",
               "ladder")  # columns of a report's leaderboard that a terminal shows  # fmt: skip
SECONDS = 2.0  # between two looks at a study
UPDATES, CLOCK = "train.updates", "train/updates_per_second"  # a setting; a metric of every run


def status(state: Progress, workers: int) -> str:
    """The text next to the progress bar."""
    parts = []
    if state.best is not None:
        parts.append(f"best {state.best:.4f} ({state.best_variant})")
    if state.failed:
        parts.append(f"{state.failed} ended with an error")
    if state.open:
        parts.append(f"open: {listed(state.open)}")
    if left := state.seconds_left(workers):
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def show_ranking(reading: Reading) -> None:
    """Print the ranking of a study's variants and what it supports, or their mean ranks over its
    corpora and the ranking on each.
    """
    corpora = on_corpora(reading)
    for section in joint(corpora):
        stdout.print(table(section.columns, section.rows, section.title))
        for sentence in section.findings:
            stderr.print(sentence, markup=False)
    for each in [*corpora.values()] or [reading]:
        show_leaderboard(each)


def show_leaderboard(reading: Reading) -> None:
    """Print the columns of the leaderboard that fit a terminal, then its conclusions."""
    board, found = reading.board, ranking(reading)
    columns = [each for each in LEADERBOARD if each in found.columns]
    places = [list(found.columns).index(each) for each in columns]
    rows = [[row[place] for place in places] for row in found.rows]
    better = "higher" if board.higher_is_better else "lower"
    title = f"{board.study}: {board.metric}, {better} is better"
    stdout.print(table(columns, rows, title, optional="ladder"))
    if board.signature:
        stderr.print(f"signature: {board.signature}", markup=False)
    for sentence in found.findings:
        stderr.print(sentence, markup=False)
    if board.failed:
        stderr.print(f"{count(board.failed, 'run')} ended with an error; --resume tries again")


def show_compared(document: Mapping[str, Any]) -> None:
    """Print rows of two studies side by side, and the rows that are not compared."""
    title = f"{document['metric']}: {' minus '.join(document['studies'])}"
    columns = ["row", *document["studies"], "difference", "95% interval", "p adjusted", "verdict",
               "what differs"]  # fmt: skip
    rows = [
        [each["a"] if each["a"] == each["b"] else f"{each['a']} / {each['b']}",
         *map(number, each["scores"]), number(each["difference"], "+.4f"),
         interval(each["low"], each["high"], "+.4f"), p_value(each["p_adjusted"]), each["verdict"],
         shown(each["differs"]) or "nothing"]
        for each in document["compared"]
    ]  # fmt: skip
    stdout.print(table(columns, rows, title) if rows else f"{title}: no two rows can be compared")
    others = [[*each.values()] for each in document["not_compared"]]
    if others:
        stdout.print(table(["study", "row", "reason"], others, "not compared"))


def show_failures(queues: Sequence[optuna.Study]) -> None:
    """Print why runs ended with an error, the first of them."""
    failed = [line for queue in queues for line in failures(queue)]
    for line in failed[:MOST_LISTED]:
        stderr.print(f"error: {line}", markup=False)
    if len(failed) > MOST_LISTED:
        stderr.print(f"error: {len(failed) - MOST_LISTED} more")


def register_winner(reading: Reading, name: str, address: str) -> None:
    """Register the model of a study's best row, and print how to serve it from the store's
    address.
    """
    check_has_rows(reading)
    run, version = register(reading, name)
    model = f"models:/{name}/{version}"
    stderr.print(f"registered: {model}, the model of run {run[:8]}; serve it with:")
    # MLflow looks for its server on the PATH.
    path = f"PATH={Path(sys.executable).parent}:$PATH"
    variables = f"{path} MLFLOW_TRACKING_URI={shlex.quote(address)}"
    serve = f"mlflow models serve -m {model} --env-manager local"
    stderr.print(f"  {variables} {serve}", soft_wrap=True)


def write_report(reading: Reading, name: str, output: Path | None) -> None:
    """Print the ranking and write the report into `output`; by default under the study's name into
    the store's folder, and as artifacts of the study's run.
    """
    tracker = reading.tracker
    if tracker.read_only and output is None:
        raise InputError(f"{tracker.store_dir}: the store is read-only here; give --output FOLDER")
    show_ranking(reading)
    folder = output or tracker.store_dir / "reports" / folder_name(name)
    build(reading).write(folder)
    so_far = under_way(reading)
    title = f"partial report ({so_far})" if so_far else "report"
    stderr.print(f"{title}: {folder / HTML}", soft_wrap=True, markup=False)
    if output is None:
        upload(tracker, reading.board, folder)
    show_links(tracker, [reading.board.study])


def watch(tracker: Tracker, name: str, url: str, *, once: bool) -> None:
    """Show a study until it ends or Ctrl-C, or `once`. On a terminal the picture is drawn again and
    again; elsewhere there is a line a minute, and the picture at the end.
    """
    queue = load_queue(study_run(tracker, name).study, url)
    study = from_definition(queue.user_attrs["definition"], registry())
    names = [*queue.user_attrs.get(CORPORA, {}).values()] or [queue.study_name]
    queues = [load_queue(each, url) for each in names]
    log = log_lines()
    with suppress(KeyboardInterrupt), Live(console=stdout, auto_refresh=False) as live:
        while True:
            ended = study_run(tracker, name).status != "RUNNING"
            shown = [list(_picture(tracker, each, study)) for each in queues]
            live.update(Group(*chain.from_iterable(shown)), refresh=True)
            if once or ended:
                break
            if not stdout.is_terminal:
                log("\n".join(", ".join(filter(None, map(str, each[:2]))) for each in shown))
            time.sleep(SECONDS)
    if not stdout.is_terminal:
        stdout.line()  # Live ends the last line on a terminal only


def _picture(tracker: Tracker, queue: optuna.Study, study: Study) -> Iterator[RenderableType]:
    """What there is to see of one study."""
    state, curve = progress(queue, study.table), study.table.curve_metric
    experiment = study_run(tracker, queue.study_name).experiment
    yield Text(f"{experiment}: {state.done + state.failed} of {count(state.total, 'run')} ended, "
               f"{state.running} running, {state.waiting + state.later} to come")  # fmt: skip
    yield Text(status(state, state.running))
    trials = [t for t in latest(queue).values() if t.state == TrialState.RUNNING]
    if not trials:
        return
    columns = Columns((), (UPDATES,), (curve,))
    runs = {run.run_id: run for run in tracker.runs(experiment, columns=columns)}
    rows = []
    for trial in trials:
        update, score = "begins", None
        if (run := runs.get(trial.user_attrs.get("run_id", ""))) is not None:
            points = tracker.history(run.run_id, CLOCK)
            update = f"{points[-1][0] if points else 0} of {run.params.get(UPDATES, '?')}"
            score = run.metrics.get(curve)
        rows.append([trial.user_attrs["variant"], str(trial.user_attrs["seed"]), update,
                     number(score)])  # fmt: skip
    yield table(["running", "seed", "update", curve], rows)
