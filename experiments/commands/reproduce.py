"""`textgan reproduce`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from experiments.reproduce import Reproduction


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog=examples("textgan reproduce 3f9a2c11", "textgan reproduce 3f9a2c11 --json"))(
        reproduce
    )


def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run that ended, by id or name.")],
    json: Json = False,
) -> int:
    """Run a run again from what the store holds, and say whether the numbers agree.

    Exit status 0 when they do, bit for bit or within what another seed gives; 1 otherwise.
    """
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import err, print_json, progress
    from experiments.reproduce import reproduce as again

    with progress("again") as advance:

        def report(step: int, total: int | None, values: Mapping[str, float | None]) -> None:
            advance(step, total, "")

        found = again(open_tracker(), run, report, lambda words: err.print(f"note: {words}"))
    if json:
        print_json(found.document())
    else:
        _show(found)
    return 0 if found.verdict in ("identical", "within") else 1


def _show(found: Reproduction) -> None:
    from experiments.console import err, out, table
    from experiments.reproduce import WORDS

    rows = [
        [row.metric, _number(row.then), _number(row.now),
         f"{_number(row.low)} to {_number(row.high)}" if row.low is not None else "", row.verdict]
        for row in found.metrics
    ]  # fmt: skip
    out.print(table(["metric", "then", "now", "another run", ""], rows))
    then, now = found.outcomes
    if then != now:
        err.print(f"the run ended {then}, and now {now}", markup=False)
    for what, (before, after) in found.differs.items():
        err.print(f"differs: {what}: {before} then, {after} now", markup=False)
    if not found.differs:
        err.print("commit, versions, device and data are the same")
    err.print(WORDS[found.verdict])
    err.print(f"run {found.run_id} beside {found.original}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
