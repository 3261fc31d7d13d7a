"""`textgan study`, `textgan report`, `textgan worker`, `textgan proxy`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from core.errors import InputError
from experiments.commands.options import Json, Set, Storage, Tracking, examples, finite
from experiments.console import print_json, progress, stderr

app = typer.Typer()


@app.command(
    epilog=examples(
        "textgan study init my_study.toml",
        "textgan study experiments/studies/design_axes.toml --workers 2",
        "textgan study experiments/studies/design_axes.toml --set corpus.source=my.txt",
        "textgan study experiments/studies/design_axes.toml --dry-run",
        "textgan study design_axes --resume",
    )
)
def study(
    source: Annotated[
        str,
        Argument(
            metavar="FILE.toml|STUDY", help="Study file; with --resume also its name; or `init`."
        ),
    ],
    path: Annotated[
        Path | None, Argument(metavar="PATH", help="With init: the new file; default: study.toml.")
    ] = None,
    set_: Set = None,
    trials: Annotated[
        int | None,
        Option(help="Trials per system of a search; in other studies: runs in all.", min=1),
    ] = None,
    minutes: Annotated[
        float | None,
        Option(
            help="Time limit; no run starts that would not end in time.",
            min=0.01,
            callback=finite,
        ),
    ] = None,
    workers: Annotated[int, Option(help="Number of worker processes.", min=1, max=10_000)] = 1,
    storage: Storage = None,
    tracking: Tracking = None,
    launcher: Annotated[
        Literal["local", "ray"], Option(help="Start workers on this machine or with Ray.")
    ] = "local",
    address: Annotated[
        str | None,
        Option(metavar="HOST:PORT", help="Address of the Ray cluster; default: RAY_ADDRESS."),
    ] = None,
    gpus_per_worker: Annotated[
        float, Option(help="GPUs per Ray worker; a fraction shares a GPU.", min=0, callback=finite)
    ] = 0.0,
    dry_run: Annotated[
        bool, Option(help="Only show the plan, then an estimate of its time and disk space.")
    ] = False,
    no_estimate: Annotated[
        bool, Option("--no-estimate", help="Leave the estimate out of --dry-run.")
    ] = False,
    resume: Annotated[bool, Option(help="Complete the missing runs of the study.")] = False,
    json: Json = False,
) -> None:
    """Run the variants of a study file and rank them. `init` writes a commented file to begin with.

    With a --storage that several machines reach, run the same command on each of them: the first
    begins the study, the others join it.
    """
    from experiments import study_output, study_session
    from experiments.estimate import show_plan
    from experiments.study_worker import Cluster
    from experiments.ui import show_links
    from studies.plan import Limit
    from studies.report import document, read

    if source == "init" and not resume:
        _write_study_file(path or Path("study.toml"))
        return
    if path is not None:
        raise InputError(f"study: {path}: give one study file (or: textgan study init {path})")
    if no_estimate and not dry_run:
        raise InputError("--no-estimate is for --dry-run, which would estimate time and disk space")
    session = study_session.find_study(
        source, overrides := set_ or [], storage, tracking, resume=resume, dry_run=dry_run
    )
    limit = Limit(trials=trials, workers=workers)
    if dry_run:
        show_plan(session.study, limit, session.tracker, as_json=json, estimated=not no_estimate)
        return
    cluster = Cluster(address, workers, gpus_per_worker) if launcher == "ray" else None
    study_session.check_workers(session, workers, cluster)
    settings = [part for each in overrides for part in ("--set", each)]
    command = shlex.join(["textgan", "study", source, *settings])
    session = study_session.begin_or_join(session, command, limit, resume=resume)
    stderr.print(f"study {session.name}: follow it with textgan watch or in MLflow", markup=False)
    show_links(session.tracker, [session.name])
    try:
        board, link = study_session.complete(session, workers, minutes, cluster)
    except KeyboardInterrupt:
        again = f"textgan study {shlex.quote(session.name)} --resume"
        stderr.print(f"complete it with: {again}", soft_wrap=True, markup=False)
        raise
    reading = read(session.tracker, session.name)
    if json:
        print_json({**document(reading), "link": link})
        return
    study_output.show_ranking(reading)
    study_output.show_failures(study_session.queues(session))
    show_links(session.tracker, [board.study])


def _write_study_file(path: Path) -> None:
    from experiments.scaffold import new_study

    new_study(path)
    again = shlex.join(["textgan", "study", str(path)])
    stderr.print(f"written: {path}; run it with: {again}", soft_wrap=True, markup=False)


@app.command(
    epilog=examples(
        "textgan report design_axes",
        "textgan report design_axes --register writer",
        "textgan report monday tuesday",
    )
)
def report(
    studies: Annotated[
        list[str],
        Argument(metavar="STUDY [STUDY]", help="Name of the study; two studies are compared."),
    ],
    output: Annotated[
        Path | None, Option(help="Folder of the report; default: in the store's folder.")
    ] = None,
    register: Annotated[
        str | None,
        Option(metavar="NAME", help="Register the best variant's model under this name."),
    ] = None,
    summary: Annotated[
        Path | None, Option(help="Only write the study as one small JSON file.")
    ] = None,
    json: Json = False,
) -> None:
    """Rank a study and write its report, from the store alone; --json only ranks.

    The report is one self-contained page (report.html), the same as Markdown, every figure as PNG,
    SVG and PDF, and every table as LaTeX and CSV. Without --output it is also logged as artifacts
    of the study's run, with the figures as PNG; nothing else in the store changes. A study may be
    under way.

    Two studies are compared on the terminal: rows of both with the same score and budget.
    """
    from core.tracking.mlflow_store import existing_tracker
    from experiments import study_output
    from studies.compared import compare
    from studies.report import document, read
    from studies.summary import write as write_summary

    name, *others = studies
    tracker = existing_tracker(None, f"study {name!r}")
    if others:
        if len(others) > 1 or register or summary or output:
            raise InputError("compare two studies, without --output, --register and --summary")
        compared = compare(tracker, name, others[0])
        print_json(compared) if json else study_output.show_compared(compared)
        return
    if summary is not None:
        write_summary(tracker, name, summary)
        stderr.print(f"summary: {summary}", soft_wrap=True)
        return
    reading = read(tracker, name)
    if register is not None:
        study_output.register_winner(reading, register, tracker.store.address)
    if json:
        print_json(document(reading))
    else:
        study_output.write_report(reading, name, output)


@app.command(
    epilog=examples(
        "textgan export design_axes --to csv",
        "textgan export design_axes --to tensorboard --output events",
    )
)
def export(
    study: Annotated[str, Argument(metavar="STUDY", help="Name of the study.")],
    to: Annotated[
        Literal["csv", "tensorboard"], Option(help="Plain files, or event files of TensorBoard.")
    ],
    output: Annotated[
        Path | None, Option(help="New folder; default: STUDY-csv or STUDY-tensorboard, here.")
    ] = None,
) -> None:
    """Write the runs, curves, leaderboard and samples of a study for other programs."""
    from core.files import folder_name
    from experiments.export import export as write
    from experiments.stored_study import load_study

    folder = output or Path(f"{folder_name(study)}-{to}")
    with progress("exporting, runs") as advance:
        write(load_study(study), to, folder, lambda done, total: advance(done, total, ""))
    stderr.print(f"written: {folder}", soft_wrap=True, markup=False)


@app.command(
    epilog=examples(
        "textgan worker design_axes",
        "textgan worker design_axes --storage postgresql://user@db/optuna "
        "--tracking http://tracker:5000",
    )
)
def worker(
    name: Annotated[str, Argument(metavar="STUDY", help="A study that was begun.")],
    storage: Storage = None,
    tracking: Tracking = None,
    until: Annotated[
        float | None,
        Option(help="Unix time; no run starts that would not end before it.", callback=finite),
    ] = None,
) -> None:
    """Train runs of a study until its queue is empty; workers may join and leave at any time.

    Fails if this machine has other code or another corpus than the study was begun with.
    """
    from core.tracking.mlflow_store import existing_tracker
    from core.tracking.protocol import study_run
    from experiments.study_worker import take_runs
    from studies.running.queue import queue_names
    from studies.running.storage import storage_url

    tracker = existing_tracker(tracking, f"study {name!r}")
    tracker.store.check_writable()
    url = storage or storage_url(tracker)
    if name not in queue_names(url):
        name = study_run(tracker, name).study  # its experiment was renamed
    take_runs(name, url, tracker, until)


@app.command(epilog=examples("textgan watch design_axes", "textgan watch design_axes --once"))
def watch(
    name: Annotated[str, Argument(metavar="STUDY", help="A study that was begun.")],
    once: Annotated[bool, Option(help="Show the study as it is now, and end.")] = False,
    storage: Storage = None,
    tracking: Tracking = None,
) -> None:
    """Show what a study is doing, from any process or machine that reaches its store.

    Shows the runs by state, the update of those that run, the best score so far and the time left,
    until the study ends.
    """
    from core.tracking.mlflow_store import existing_tracker
    from experiments.study_output import watch
    from studies.running.storage import storage_url

    tracker = existing_tracker(tracking, f"study {name!r}")
    watch(tracker, name, storage or storage_url(tracker), once=once)


@app.command(epilog=examples("textgan proxy --storage postgresql://user@db/optuna"))
def proxy(
    storage: Annotated[str, Option(metavar="URL", help="The database, such as postgresql://...")],
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port to listen on.", min=1, max=65535)] = 13000,
) -> None:
    """Pool database connections for many workers, until interrupted.

    The proxy caches what it has read. Workers use --storage grpc://HOST:PORT. Everyone who can
    reach the port can write: listen on a private network only.
    """
    from studies.running.storage import serve_proxy

    address = f"grpc://{host}:{port}"
    said = f"workers reach the storage by --storage {address}; Ctrl-C ends it"
    serve_proxy(storage, host, port, lambda: stderr.print(said, markup=False))
