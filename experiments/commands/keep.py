"""`textgan sync`: what the tracking store has not been told yet."""

from __future__ import annotations

import typer

from experiments.commands.options import Json, examples


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog=examples("textgan sync", "textgan sync --json"))(sync)


def sync(json: Json = False) -> None:
    """Deliver what runs kept while the tracking server was away."""
    from core.errors import MachineError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import err, print_json, progress

    tracker = open_tracker()
    with progress("delivering, runs") as advance:
        found = tracker.sync(lambda done, total: advance(done, total, ""))
    if json:
        print_json({"delivered": found.delivered, "busy": found.busy, "away": found.away})
    for run in found.busy:
        err.print(f"run {run[:8]} is being written; its own process delivers it", markup=False)
    if found.away:
        run, why = next(iter(found.away.items()))
        raise MachineError(
            f"{len(found.away)} runs wait for {tracker.uri} (run {run[:8]}: {why}); "
            f"run textgan sync again when it answers"
        )
    if not json:
        err.print(f"{found.delivered} runs delivered; nothing waits")
