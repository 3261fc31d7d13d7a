"""`textgan variants`, `textgan ui`, `textgan doctor`, `textgan sync`."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from core.errors import InputError, MachineError, TextganError
from core.files import size_of
from core.plural import count
from experiments.commands.options import Json, Storage, complete_slot, examples
from experiments.console import print_json, progress, stderr, stdout, table

STORED = ("artifacts", "runs", "corpora", "journal")  # folders next to the store
app = typer.Typer()


@app.command(
    epilog=examples(
        "textgan variants sampling",
        "textgan variants check penalty.none",
        "textgan variants new penalty mine",
        "textgan variants gradients --output figures",
    )
)
def variants(
    slot: Annotated[
        str | None,
        Argument(help="A slot, `check`, `new` or `gradients`.", autocompletion=complete_slot),
    ] = None,
    name: Annotated[str | None, Argument(help="With check: SLOT.NAME; with new: SLOT.")] = None,
    new: Annotated[
        str | None, Argument(metavar="NAME", help="With new: name of the strategy.")
    ] = None,
    draws: Annotated[
        int, Option(min=10, max=1_000_000, help="With gradients: number of batches.")
    ] = 1000,
    steps: Annotated[int, Option(min=2, max=3, help="With gradients: tokens per sentence.")] = 2,
    output: Annotated[Path | None, Option(help="With gradients: folder for the figure.")] = None,
    json: Json = False,
) -> None:
    """List the strategies of every slot.

    `check SLOT.NAME` runs the conformance rules on one and trains it for three updates, and again
    with a strategy that needs each capability it offers. `new SLOT NAME` writes the file of a new
    strategy, a copy of a short one, and its test. `gradients` compares every estimator with
    the exact gradient of a language of three words.
    """
    from variants import registry

    for sentence in registry().lost:
        stderr.print(f"note: {sentence}", soft_wrap=True, markup=False)
    if slot == "new":
        from experiments.scaffold import new_strategy

        if name is None or new is None:
            raise InputError("variants new: give SLOT NAME, such as penalty mine")
        for file in new_strategy(name, new):
            stderr.print(f"written: {file}", soft_wrap=True, markup=False)
        stderr.print(f"check it with: textgan variants check {name}.{new}", markup=False)
        return
    if slot == "gradients":
        from experiments.gradients import show

        show(draws, steps, output, json)
        return
    if slot == "check":
        if name is None or "." not in name:
            raise InputError("variants check: give SLOT.NAME, such as sampling.detached")
        from experiments.check import try_strategy

        result = try_strategy(*name.split(".", 1))
        trained = f"{count(result.updates, 'update')} trained, outcome {result.outcome}"
        stdout.print(f"{name}: passes ({trained})")
        return
    found = registry().describe(slot)
    if json:
        print_json(found)
        return
    cells = [
        [f"{each}.{r['name']}", r["summary"], r["paper"]]
        for each, rows in found.items()
        for r in rows
    ]
    stdout.print(table(["slot.strategy", "what it does", "source"], cells))


@app.command(epilog=examples("textgan ui", "textgan ui --port 5001"))
def ui(
    port: Annotated[int, Option(help="Port on this machine.", min=1, max=65535)] = 5000,
    host: Annotated[
        str, Option(help="Address to listen on; 0.0.0.0: all interfaces.")
    ] = "127.0.0.1",
    allow: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Host name that requests may use; may be repeated."),
    ] = None,
    optuna: Annotated[
        bool, Option("--optuna", help="Open optuna-dashboard on the searches instead.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Open the MLflow UI on the store, by default for this machine only.

    Links to the studies are shown as soon as it listens: leaderboard, report and samples of each.
    With --optuna, optuna-dashboard shows the searches of the same store, or of --storage.
    """
    from core.tracking.mlflow_client import LOOPBACK, ui_command
    from core.tracking.mlflow_store import existing_tracker
    from experiments.ui import ADDRESS, serve, serve_dashboard, show_links
    from studies.running.storage import storage_url

    tracker = existing_tracker()
    if optuna:
        serve_dashboard(storage or storage_url(tracker), host, port)
        return
    command, environment = ui_command(
        tracker.store.address, tracker.store_dir, port, host, allow or []
    )
    file = tracker.store_dir / ADDRESS
    addresses: list[str] = []  # of this server, once it listens: the file may be another one's

    def ready(address: str) -> None:
        addresses.append(address)
        with suppress(OSError):  # the store may be read-only
            file.write_text(f"{address}\n{tracker.store_dir}", encoding="utf-8")
        if host not in LOOPBACK:
            stderr.print(f"listening on {host}: everyone who can reach it can change every run")
        stderr.print(f"{address} is ready; Ctrl-C ends it")
        show_links(tracker, tracker.experiments(), address)

    try:
        serve(command, environment, host, port, ready)
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True) if addresses else None


@app.command(epilog=examples("textgan doctor", "textgan doctor --json"))
def doctor(json: Json = False) -> None:
    """Show environment, device, store and versions: what to send with a question."""
    found = _examined()
    if json:
        print_json(found)
        return
    stdout.print(table(["", ""], [[key, str(value)] for key, value in found.items()]))


@app.command(epilog=examples("textgan sync", "textgan sync --json"))
def sync(json: Json = False) -> None:
    """Deliver what runs kept on disk while the tracking server did not answer."""
    from core.addresses import shown
    from core.tracking.mlflow_store import existing_tracker

    tracker = existing_tracker()
    with progress("delivering, runs") as advance:
        found = tracker.sync(lambda done, total: advance(done, total, ""))
    if json:
        print_json({"delivered": found.delivered, "busy": found.busy, "away": found.away})
    for run in found.busy:
        stderr.print(f"run {run[:8]} is being written; its own process delivers it", markup=False)
    if found.away:
        run, error = next(iter(found.away.items()))
        raise MachineError(
            f"{count(len(found.away), 'run')} not delivered to {shown(tracker.uri)} "
            f"(run {run[:8]}: {error}); run textgan sync again after that"
        )
    if not json:
        rest = f"{count(len(found.busy), 'run')} being written" if found.busy else "nothing waits"
        stderr.print(f"{count(found.delivered, 'run')} delivered; {rest}")


def _examined() -> dict[str, Any]:
    """Facts by name; `problem` is why the store does not open, or None. A store that does not exist
    yet is no problem.
    """
    import torch

    from core.addresses import shown
    from core.tracking.mlflow_store import MissingStoreError, existing_tracker
    from experiments.deletion import unneeded
    from experiments.environment import environment_tags

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {**environment_tags(device), "cores": os.cpu_count()}
    try:
        tracker = existing_tracker()
        found |= {
            "store": shown(tracker.uri),
            "store_dir": str(tracker.store_dir),
            "read_only": tracker.read_only,
            "experiments": len(tracker.experiments()),
            "runs": len(tracker.runs()),
            "undelivered": len(tracker.undelivered()),
            "problem": None,
        }
        for part in STORED:
            found[f"{part}_mb"] = round(size_of(tracker.store_dir / part) / 1e6, 1)
        freed = sum(each.size for each in unneeded(tracker.store_dir))
        found["gc_frees_mb"] = round(freed / 1e6, 1)
        found["free_gb"] = round(shutil.disk_usage(tracker.store_dir).free / 1e9, 1)
    except MissingStoreError as error:
        found |= {"store": str(error), "problem": None}
    except TextganError as error:
        found["problem"] = str(error)
    return found
