"""`textgan runs`: list, compare, delete, restore, gc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from core.tracking.mlflow_store import MlflowTracker
    from core.tracking.protocol import RunRecord
    from experiments.listing import Row

LIST = "list"
SHOWN = ("run_id", "study", "variant", "seed", "outcome", "eval/ms_jaccard_2")
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by id or name.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class ListsByDefault(TyperGroup):
    """`textgan runs design_axes --csv` is `textgan runs list design_axes --csv`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` in front unless another command, or help, is asked for."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ListsByDefault,
    help="List runs (the default), compare, delete.",
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
    study: Annotated[str | None, typer.Argument(help="Only this study's.")] = None,
    where: Annotated[
        str | None, typer.Option("--filter", help="Such as: eval/valid > .5 and outcome = ok")
    ] = None,
    sort: Annotated[str | None, typer.Option(help="A column; metrics best first.")] = None,
    columns: Annotated[str | None, typer.Option(help="Names of columns, with commas.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many rows.", min=1)] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="One row a run, for pandas.")] = False,
) -> None:
    """List the training runs of the store; `textgan runs` is the same."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import print_json
    from experiments.listing import as_rows, column, parse_filter
    from experiments.listing import sort as sorted_by

    tracker = open_tracker()
    if study is not None and study not in tracker.experiments():
        raise InputError(f"no study {study!r}; known: {', '.join(tracker.experiments())}")
    rows = as_rows(tracker.runs(study))
    known = list(dict.fromkeys(key for row in rows for key in row)) or list(SHOWN)
    if where is not None and rows:
        clauses = parse_filter(where, known)
        rows = [row for row in rows if all(clause.holds(row) for clause in clauses)]
    if sort is not None and rows:
        rows = sorted_by(rows, column(sort, known, "--sort"))
    rows = rows[:limit]
    chosen = [column(c.strip(), known, "--columns") for c in columns.split(",")] if columns else []
    if chosen:
        wanted = list(dict.fromkeys(["run_id", *chosen]))
        rows = [{key: row.get(key) for key in wanted} for row in rows]
    if json:
        print_json(rows)
    elif csv:
        _print_csv(rows, known if not chosen else list(dict.fromkeys(["run_id", *chosen])))
    else:
        _print_table(rows, ["run_id", *chosen] if chosen else list(SHOWN))


@app.command(epilog=examples("textgan runs compare 3f9a2c11 81b0aa42 --json"))
def compare(runs: Runs, json: Json = False) -> None:
    """What differs in the configurations of two or more runs, and their metrics side by side."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import out, print_json, table
    from experiments.listing import as_rows
    from experiments.listing import compare as compared

    tracker = open_tracker()
    found = [tracker.run(key) for key in runs]
    if len({record.run_id for record in found}) < 2:
        raise InputError("compare what? give two or more different runs")
    rows = as_rows(found)
    if len(rows) != len(found):
        other = next(r for r in found if r.run_id not in {row["run_id"] for row in rows})
        raise InputError(f"{other.name!r} is no training run; give runs that `textgan runs` lists")
    document = compared(rows)
    if json:
        print_json(document)
        return
    heads = [f"{row['run_id'][:8]} {row['variant']}" for row in rows]
    for title in ("differences", "metrics"):
        cells = [[key, *map(_cell, values)] for key, values in document[title].items()]
        if cells:
            out.print(table([title, *heads], cells))
            out.print()
    if not document["differences"]:
        out.print("their configurations are the same")


@app.command(epilog=examples("textgan runs delete 3f9a2c11 81b0aa42", "textgan runs delete old -y"))
def delete(runs: Runs, yes: Yes = False) -> None:
    """Delete runs and all that lies below them; `restore` undoes it, `gc` frees the space.

    Everything is named, with its size, before it is asked about.
    """
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import err

    tracker = open_tracker()
    found = _with_children(tracker, [tracker.run(key) for key in runs])
    trash = tracker.trash()
    held = trash.registered([record.run_id for record in found])
    _name([(r.run_id, f"{r.experiment}: {r.name}", trash.size(r.run_id)) for r in found])
    for run_id, model in held.items():
        err.print(f"note: {run_id[:8]} is {model} in the registry", markup=False)
    _ask(f"delete {len(found)} runs?", yes)
    trash.mark([record.run_id for record in found])
    err.print(f"{len(found)} runs deleted; undo with: textgan runs restore RUN")


@app.command(epilog=examples("textgan runs restore 3f9a2c11"))
def restore(runs: Runs) -> None:
    """Bring deleted runs back, by id."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import err

    trash = open_tracker().trash()
    deleted = [each for each in trash.leftovers() if each.known]
    wanted = []
    for key in runs:
        matches = [each.run_id for each in deleted if each.run_id.startswith(key)]
        if len(matches) != 1:
            known = ", ".join(each.run_id[:8] for each in deleted) or "none"
            words = "no deleted run" if not matches else f"{len(matches)} deleted runs are called"
            raise InputError(f"{words} {key!r}; deleted are: {known}")
        wanted += matches
    trash.restore(wanted)
    err.print(f"{len(wanted)} runs restored")


@app.command(epilog=examples("textgan runs gc"))
def gc(yes: Yes = False) -> None:
    """Remove deleted runs for good, files of runs that the store does not know, and what runs that
    have ended no longer need: their last checkpoints (those that were kept stay) and journals that
    were delivered.

    Everything is named, with its size, before it is asked about.
    """
    from core.tracking.mlflow_store import open_tracker
    from core.tracking.protocol import NONE
    from experiments.console import err
    from experiments.room import spare

    tracker = open_tracker()
    trash = tracker.trash()
    found = trash.leftovers()
    held = trash.registered([each.run_id for each in found])
    for each in found:
        if each.run_id in held:
            words = f"kept: {each.run_id[:8]} is {held[each.run_id]} in the registry"
            err.print(words, markup=False)
    gone = {each.run_id for each in found}
    found = [each for each in found if each.run_id not in held]
    spares = [each for each in spare(tracker.store_dir) if each.run_id not in gone]
    if not found and not spares:
        err.print("nothing to remove")
        return
    names = {run.run_id: f"{run.experiment}: {run.name}" for run in tracker.runs(columns=NONE)}
    removed = [(each.run_id, each.name, each.size) for each in found]
    thinned = [
        (each.run_id, f"{names.get(each.run_id, 'ended')} ({each.words})", each.size)
        for each in spares
    ]
    _name([*removed, *thinned])
    _ask(f"remove {_what(len(removed), len(thinned))} for good?", yes)
    for each in found:
        trash.purge(each)
    for files in spares:
        files.remove()
    freed = sum(size for *_, size in [*removed, *thinned])
    err.print(f"{_what(len(removed), len(thinned))} removed, {_size(freed)} freed")


def _what(runs: int, ended: int) -> str:
    parts = [f"{runs} runs"] * bool(runs) + [f"what {ended} ended runs left"] * bool(ended)
    return " and ".join(parts)


def _with_children(tracker: MlflowTracker, found: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs and everything below them, each once."""
    below: dict[str, list[RunRecord]] = {}
    for study in {record.experiment for record in found}:
        for run in tracker.runs(study):
            below.setdefault(run.parent_id or "", []).append(run)
    all_of_them: dict[str, RunRecord] = {}
    waiting = list(found)
    while waiting:
        record = waiting.pop(0)
        all_of_them[record.run_id] = record
        waiting += below.get(record.run_id, [])
    return list(all_of_them.values())


def _name(entries: Sequence[tuple[str, str, int]]) -> None:
    from experiments.console import err, table

    rows = [[run_id[:8], name, _size(size)] for run_id, name, size in entries]
    err.print(table(["run", "what", "size"], rows))
    err.print(f"{len(entries)} in all, {_size(sum(size for *_, size in entries))}")


def _ask(question: str, yes: bool) -> None:
    """Go on with a yes; anything else, and no terminal to ask at, ends the command."""
    import sys

    from core.errors import InputError
    from experiments.console import err

    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing was deleted: nobody is there to ask; --yes answers in advance")
    if not typer.confirm(question, err=True):
        err.print("nothing was deleted")
        raise typer.Exit


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _print_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    import pandas as pd

    typer.echo(pd.DataFrame(list(rows), columns=list(columns)).to_csv(index=False), nl=False)


def _print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from experiments.console import out, table

    columns = list(dict.fromkeys(columns))
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    for row in cells:
        row[0] = row[0][:8]  # enough for every command that takes a run
    out.print(table(columns, cells) if rows else "no such runs; try: textgan run mle")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
