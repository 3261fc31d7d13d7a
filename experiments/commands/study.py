"""`textgan study`, `textgan worker`, `textgan report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.options import Json, Set, Storage, examples

if TYPE_CHECKING:
    from core.tracking.protocol import Tracker
    from studies.definition import Study
    from studies.leaderboard import Leaderboard


AT = "http://127.0.0.1:5000"  # where `textgan ui` answers


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog=examples(
            "textgan study experiments/studies/card_axes.toml --workers 2",
            "textgan study experiments/studies/card_axes.toml --set corpus.source=my.txt",
            "textgan study experiments/studies/card_axes.toml --dry-run",
        )
    )(study)
    app.command(epilog=examples("textgan worker card_axes"))(worker)
    app.command(epilog=examples("textgan report card_axes", "textgan report card_axes --json"))(
        report
    )


def study(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study.")],
    set_: Set = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine.", min=1, max=256)] = 1,
    storage: Storage = None,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
    resume: Annotated[bool, typer.Option(help="Complete what is missing, only that.")] = False,
    json: Json = False,
) -> None:
    """Run what a study file compares, and rank it."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.commands.corpora import prepare
    from experiments.console import err, print_json
    from experiments.loading import resolve_file
    from studies.definition import load_study
    from studies.execute import begin, failures, free_name
    from studies.execute import resume as resume_study
    from studies.queue import storage_url
    from variants import registry

    plan = load_study(file, set_ or [], registry(), resolve_file)
    if dry_run:
        _show_plan(plan, json)
        return
    tracker = open_tracker()
    url = storage or storage_url(tracker)
    prepare((variant.config for variant in plan.variants), tracker.world)
    wanted = plan.table.name
    if resume:
        if wanted not in tracker.experiments():
            raise InputError(f"no study {wanted!r} to resume; leave out --resume to begin it")
        name = wanted
        resume_study(name, url, plan)
    else:
        name = free_name(wanted, tracker)
        if name != wanted:
            err.print(f"study {wanted!r} exists; this one is {name!r} (--resume completes it)")
        command = " ".join(["textgan study", str(file), *(f"--set {s}" for s in set_ or [])])
        begin(plan, name, tracker, url, command)
    board, link = _work_through(name, url, workers, tracker)
    if json:
        print_json({**board.document(), "link": link})
        return
    _show(board)
    for line in failures(name, url):
        err.print(f"failed: {line}", markup=False)
    links = {
        "leaderboard": link,
        "report": tracker.link(name, board.parent_run_id, "report.html"),
        "sentences": tracker.sentences_link(name, board.metric, not board.higher_is_better),
    }
    err.print("open them with [bold]textgan ui[/]:")
    for title, to in links.items():
        err.print(f"  {title}: {AT}/{to}", soft_wrap=True)


def worker(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A study that was begun.")],
    storage: Storage = None,
) -> None:
    """Take runs from a study's queue until it is empty."""
    from core.tracking.mlflow_store import open_tracker
    from experiments.runner import run as train
    from studies.execute import work
    from studies.queue import storage_url
    from variants import registry

    tracker = open_tracker()
    work(name, tracker, storage or storage_url(tracker), train, registry())


def report(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A study, by name.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the page; default: beside the store.")
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

    tracker = open_tracker()
    board = leaderboard(tracker, name)
    if json:
        print_json(board.document())
        return
    _show(board)
    folder = output or tracker.world / "reports" / name.replace("/", "_")
    page = write(tracker, name, folder)[0]
    _, link = publish(tracker, name)
    err.print(f"report: {page}", soft_wrap=True)
    err.print(f"in the UI (textgan ui): {AT}/{link}", soft_wrap=True)


def _work_through(name: str, url: str, workers: int, tracker: Tracker) -> tuple[Leaderboard, str]:
    import os

    from experiments.console import progress
    from experiments.runner import run as train
    from studies.execute import Progress, count, drive, work
    from studies.queue import load_queue
    from studies.report import publish
    from variants import registry

    os.environ["MLFLOW_TRACKING_URI"] = tracker.uri
    command = [sys.executable, "-m", "experiments", "worker", name, "--storage", url]
    with progress(f"{name}: runs") as advance:

        def watch(state: Progress) -> None:
            words = f"{state.failed} failed" if state.failed else ""
            advance(state.done + state.failed, state.total, words)

        def here() -> None:
            def watched(*args: object, **kwargs: object) -> object:
                watch(count(load_queue(name, url)))
                return train(*args, **kwargs)  # type: ignore[arg-type]

            work(name, tracker, url, watched, registry())  # type: ignore[arg-type]

        drive(name, url, workers, here, command, watch)
    return publish(tracker, name)


def _show_plan(plan: Study, as_json: bool) -> None:
    from experiments.console import out, print_json, table

    seeds = plan.table.seed_list()
    if as_json:
        names = [variant.name for variant in plan.variants]
        print_json({"study": plan.table.name, "variants": names, "seeds": seeds,
                    "runs": len(names) * len(seeds)})  # fmt: skip
        return
    rows = [[variant.name, ", ".join(map(str, seeds))] for variant in plan.variants]
    out.print(table(["variant", "seeds"], rows, title=plan.table.question))
    out.print(f"{len(rows) * len(seeds)} runs, ranked by {plan.table.metric}")


def _show(board: Leaderboard) -> None:
    from experiments.console import err, out, table

    rows = [
        [str(rank), row.variant, f"{row.score:.4f}", f"{row.low:.4f} to {row.high:.4f}",
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
