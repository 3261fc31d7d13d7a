"""`textgan study`, `textgan report`."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from experiments.commands.options import Json, Set, Storage, Tracking, examples

if TYPE_CHECKING:
    from core.tracking.protocol import Tracker
    from studies.leaderboard import Leaderboard


AT = "http://127.0.0.1:5000"  # where `textgan ui` answers


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog=examples(
            "textgan study experiments/studies/design_axes.toml --workers 2",
            "textgan study experiments/studies/design_axes.toml --set corpus.source=my.txt",
            "textgan study experiments/studies/design_axes.toml --dry-run",
            "textgan study design_axes --resume",
        )
    )(study)
    app.command(
        epilog=examples(
            "textgan report design_axes", "textgan report design_axes --register writer"
        )
    )(report)


def study(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE.toml|STUDY", help="The study; to resume it, also its name."),
    ],
    set_: Set = None,
    trials: Annotated[
        int | None, typer.Option(help="A search's trials of each system; else runs in all.", min=1)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Begin no run that would not end in time.", min=0.01)
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes at once.", min=1, max=10_000)] = 1,
    storage: Storage = None,
    tracking: Tracking = None,
    launcher: Annotated[
        Literal["local", "ray"], typer.Option(help="Who starts the workers: this machine, or Ray.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster; default: RAY_ADDRESS.")
    ] = None,
    gpus_per_worker: Annotated[
        float, typer.Option(help="GPU of each of Ray's workers; a fraction shares one.", min=0)
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option(help="Show plan, number of runs, time and disk, and stop.")
    ] = False,
    resume: Annotated[bool, typer.Option(help="Complete what is missing, only that.")] = False,
    json: Json = False,
) -> None:
    """Run what a study file compares, and rank it.

    With a --storage that several machines reach, the same command on each of them works on the
    same study: the first begins it, the others join.
    """
    from experiments.commands.beginning import asked_for, begin_or_join
    from experiments.commands.working import Work, crowded, show_plan, work_through
    from experiments.console import err, print_json
    from experiments.ray_launcher import check_cluster
    from experiments.ray_worker import Places
    from studies.plan import Limit
    from studies.running.queue import failures, load_queue

    asked = asked_for(source, set_ or [], storage, tracking, resume=resume)
    plan, tracker, url = asked.plan, asked.tracker, asked.url
    limit = Limit(trials=trials, workers=workers)
    if dry_run:
        show_plan(plan, limit, tracker, as_json=json)
        return
    cluster = None
    if launcher == "local" and (words := crowded(plan, workers, os.cpu_count() or 1)):
        err.print(words)
    if launcher == "ray":
        cluster = Places(address, workers, gpus_per_worker)
        check_cluster(cluster, url, tracker.uri)
    given = [part for each in set_ or [] for part in ("--set", each)]
    command = shlex.join(["textgan", "study", source, *given])
    going_on = asked.name if resume else None
    begun = begin_or_join(plan, tracker, url, command, limit, resume=going_on)
    name = begun.name
    board, link = work_through(begun, url, plan.table, tracker, Work(workers, minutes, cluster))
    if json:
        print_json({**board.document(), "link": link})
        return
    _show(board)
    for line in failures(load_queue(name, url)):
        err.print(f"failed: {line}", markup=False)
    _show_links(tracker, board, link)


def _show_links(tracker: Tracker, board: Leaderboard, leaderboard: str) -> None:
    from experiments.console import err

    links = {
        "leaderboard": leaderboard,
        "report": tracker.link(board.study, board.parent_run_id, "report.html"),
        "sentences": tracker.sentences_link(board.study, board.metric, not board.higher_is_better),
    }
    serves = tracker.uri.startswith("http")
    err.print("on the tracking server:" if serves else "open them with [bold]textgan ui[/]:")
    for title, to in links.items():
        err.print(f"  {title}: {tracker.uri if serves else AT}/{to}", soft_wrap=True)


def folder_name(name: str) -> str:
    """A study's name as that of one folder, wherever the name came from."""
    return re.sub(r"[^\w .-]", "_", name)[:100].strip(". ") or "study"


def report(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A study, by name.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the page; default: beside the store.")
    ] = None,
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="Put the winner's model in the registry.")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Write the study as one small JSON file, and stop.")
    ] = None,
    json: Json = False,
) -> None:
    """Rank a study and write its report, from the store alone; --json only ranks.

    One page that needs nothing else (report.html), the same as Markdown, and every figure as PNG,
    SVG and PDF. It is logged to the study's own run too, for the UI.
    """
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import err, print_json
    from studies.leaderboard import leaderboard
    from studies.report import publish, write
    from studies.report import register as register_winner
    from studies.summary import write as write_summary

    tracker = open_tracker()
    if summary is not None:
        write_summary(tracker, name, summary)
        err.print(f"summary: {summary}", soft_wrap=True)
        return
    board = leaderboard(tracker, name)
    if register is not None:
        run, version = register_winner(tracker, board, register)
        model = f"models:/{register}/{version}"
        err.print(f"registered: {model}, the model of run {run[:8]}; serve it with:")
        # MLflow looks for its server among the commands.
        where = f"PATH={Path(sys.executable).parent}:$PATH MLFLOW_TRACKING_URI={tracker.uri}"
        serve = f"mlflow models serve -m {model} --env-manager local"
        err.print(f"  {where} {serve}", soft_wrap=True)
    if json:
        print_json(board.document())
        return
    _show(board)
    folder = output or tracker.store_dir / "reports" / folder_name(name)
    page = write(tracker, name, folder)[0]
    _, link = publish(tracker, name)
    err.print(f"report: {page}", soft_wrap=True)
    err.print(f"in the UI (textgan ui): {AT}/{link}", soft_wrap=True)


def _show(board: Leaderboard) -> None:
    from experiments.console import err, out, table
    from studies.analysis.wording import between

    rows = [
        [str(rank), row.variant, f"{row.score:.4f}", between(row.interval),
         str(row.seeds), ", ".join(f"{n} {o}" for o, n in sorted(row.outcomes.items()))]
        for rank, row in enumerate(board.rows, start=1)
    ]  # fmt: skip
    real = board.baselines.get("real")
    if real is not None:
        rows.append(["", "real held-out text", f"{real:.4f}", "", "", ""])
    better = "higher" if board.higher_is_better else "lower"
    title = f"{board.study}: {board.metric}, {better} is better"
    out.print(table(["", "variant", "score", "95% interval", "seeds", "outcomes"], rows, title))
    if board.failed:
        err.print(f"{board.failed} runs failed; --resume tries them again")
