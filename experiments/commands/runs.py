"""`textgan runs`: list, compare, delete, restore, gc."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from core.errors import InputError
from experiments.commands.options import Json, examples, parts
from experiments.console import print_json

LIST = "list"
Runs = Annotated[list[str], Argument(metavar="RUN...", help="Runs, by id or name.")]
Deleted = Annotated[
    list[str], Argument(metavar="RUN|STUDY...", help="Runs by id, or studies by name.")
]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask for confirmation.")]


class ListsByDefault(TyperGroup):
    """`textgan runs design_axes --csv` is `textgan runs list design_axes --csv`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `list` unless another command or help is named."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ListsByDefault,
    help="List runs (the default), compare or delete them.",
    epilog=examples(
        "textgan runs",
        "textgan runs design_axes --csv > runs.csv",
        "textgan runs --filter \"eval/valid > .5 and outcome = ok\" --sort eval/valid",
        "textgan runs compare 3f9a2c11 81b0aa42",
        "textgan runs delete 3f9a2c11",
    ),
    no_args_is_help=False,
)  # fmt: skip


@app.command(LIST, epilog=examples("textgan runs list design_axes --columns seed,eval/valid"))
def list_(
    study: Annotated[str | None, Argument(help="Only the runs of this study.")] = None,
    where: Annotated[
        str | None, Option("--filter", help="Such as: eval/valid > .5 and outcome = ok")
    ] = None,
    sort: Annotated[str | None, Option(help="Column to sort by; metrics sort best first.")] = None,
    columns: Annotated[
        list[str] | None, Option(help="Columns to show, separated by commas.")
    ] = None,
    limit: Annotated[int | None, Option(help="Maximum number of rows.", min=1)] = None,
    json: Json = False,
    csv: Annotated[bool, Option("--csv", help="CSV with one row per run.")] = False,
) -> None:
    """List the training runs of the store; `textgan runs` is the same."""
    from core.tracking.mlflow_store import existing_tracker
    from core.tracking.protocol import study_run
    from experiments import listing

    tracker = existing_tracker()
    if study is not None and study not in tracker.experiments():
        study = study_run(tracker, study).experiment  # it was renamed; InputError if it was not
    runs = listing.runs_of(tracker, study)
    rows, shown = listing.select(listing.as_rows(runs), where, sort, parts(columns))
    rows = rows[:limit]
    if json:
        print_json(rows)
    elif csv:
        listing.print_csv(rows, shown)
    else:
        none = "no such runs" if study or where else "no runs yet; try: textgan run mle"
        if not columns:
            by = [listing.column(sort, shown, "--sort")] if sort and rows else []
            shown = list(dict.fromkeys([*listing.columns_of(runs), *by]))
        listing.show(rows, shown, none)


@app.command(epilog=examples("textgan runs compare 3f9a2c11 81b0aa42 --json"))
def compare(runs: Runs, json: Json = False) -> None:
    """Compare the configurations and metrics of two or more runs."""
    from core.tracking.mlflow_store import existing_tracker
    from experiments import listing

    tracker = existing_tracker()
    found = [tracker.run(key) for key in runs]
    if len({record.run_id for record in found}) < 2:
        raise InputError("compare: give two or more different runs")
    rows = listing.as_rows(found)
    if len(rows) != len(found):
        other = next(r for r in found if r.run_id not in {row["run_id"] for row in rows})
        raise InputError(f"{other.name!r} is no training run; give runs that `textgan runs` lists")
    compared = listing.compare(rows)
    if json:
        print_json(compared)
    else:
        listing.show_comparison(rows, compared)


@app.command(epilog=examples("textgan runs delete 3f9a2c11 81b0aa42", "textgan runs delete old -y"))
def delete(runs: Runs, yes: Yes = False) -> None:
    """Delete runs and their children; `restore` undoes it, `gc` frees the space.

    Lists everything with its size and asks for confirmation.
    """
    from core.tracking.mlflow_store import existing_tracker
    from experiments import deletion

    deletion.delete(existing_tracker(), runs, yes=yes)


@app.command(epilog=examples("textgan runs restore 3f9a2c11", "textgan runs restore design_axes"))
def restore(runs: Deleted) -> None:
    """Restore deleted runs, by id, or a deleted study with all its runs, by name."""
    from core.tracking.mlflow_store import existing_tracker
    from experiments import deletion

    deletion.restore(existing_tracker(), runs)


@app.command(epilog=examples("textgan runs gc"))
def gc(yes: Yes = False) -> None:
    """Free disk space: remove deleted runs permanently, files of runs that the store does not know,
    and what finished runs no longer need (last checkpoints, not kept ones, and delivered journals).

    Lists everything with its size and asks for confirmation.
    """
    from core.tracking.mlflow_store import existing_tracker
    from experiments import deletion

    deletion.collect_garbage(existing_tracker(), yes=yes)
