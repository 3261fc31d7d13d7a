"""`textgan runs`, `textgan variants`, `textgan ui`, `textgan doctor`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from experiments.commands.options import Json, examples


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog=examples("textgan runs", "textgan runs card_axes --csv > runs.csv"))(runs)
    app.command(
        epilog=examples("textgan variants sampling", "textgan variants check penalty.none")
    )(variants)
    app.command(epilog=examples("textgan ui", "textgan ui --port 5001"))(ui)
    app.command(epilog=examples("textgan doctor", "textgan doctor --json"))(doctor)


def runs(
    study: Annotated[str | None, typer.Argument(help="Only this study's.")] = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="One row a run, for pandas.")] = False,
) -> None:
    """List the training runs of the store."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import out, print_json, table

    tracker = open_tracker()
    if study is not None and study not in tracker.experiments():
        raise InputError(f"no study {study!r}; known: {', '.join(tracker.experiments())}")
    found = [r for r in tracker.runs(study) if r.tags.get("level") in ("run", "seed")]
    rows: list[dict[str, Any]] = [
        {
            "run_id": r.run_id, "study": r.experiment, "variant": r.tags.get("variant", r.name),
            "seed": r.tags.get("seed"), "outcome": r.outcome or r.status.lower(),
            **{k: v for k, v in sorted(r.metrics.items()) if k.startswith("eval/")},
        }
        for r in found
    ]  # fmt: skip
    if json:
        print_json(rows)
    elif csv:
        import pandas as pd

        typer.echo(pd.DataFrame(rows).to_csv(index=False), nl=False)
    else:
        columns = ["run_id", "study", "variant", "seed", "outcome", "eval/ms_jaccard_2"]
        cells = [[_cell(row.get(column)) for column in columns] for row in rows]
        for row in cells:
            row[0] = row[0][:8]  # enough for every command that takes a run
        out.print(table(columns, cells) if rows else "no runs yet; try: textgan run mle")


def variants(
    slot: Annotated[str | None, typer.Argument(help="One slot, or `check`.")] = None,
    name: Annotated[str | None, typer.Argument(help="With check: SLOT.NAME.")] = None,
    json: Json = False,
) -> None:
    """The strategies of every slot; `check SLOT.NAME` holds one against the conformance rules."""
    from core.errors import InputError
    from experiments.console import out, print_json, table
    from variants import registry
    from variants.conformance import check

    if slot == "check":
        if name is None or "." not in name:
            raise InputError("variants check: give SLOT.NAME, such as sampling.detached")
        check(registry(), *name.split(".", 1))
        out.print(f"{name}: passes")
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
    out.print(table(["slot.strategy", "what it does", "source"], cells))


def ui(port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000) -> None:
    """Open the MLflow UI on the store, for this machine only."""
    import subprocess

    from core.errors import MachineError
    from core.tracking.mlflow_store import open_tracker
    from core.tracking.mlflow_ui import ui_command
    from experiments.console import err

    tracker = open_tracker()
    command, environment = ui_command(tracker.uri, tracker.world, port)
    studies = [name for name in tracker.experiments() if name != "Default"]
    err.print(f"http://127.0.0.1:{port} in a few seconds; Ctrl-C ends it")
    for name in studies:
        err.print(f"  {name}: http://127.0.0.1:{port}/{tracker.link(name)}", soft_wrap=True)
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode not in (0, -2, 130):
        raise MachineError(f"the MLflow server ended with status {done.returncode}; port in use?")


def doctor(json: Json = False) -> None:
    """Environment, device, store, versions: what to send with a question."""
    from experiments.console import out, print_json, table
    from experiments.doctor import examine

    found = examine()
    if json:
        print_json(found)
        return
    out.print(table(["", ""], [[key, str(value)] for key, value in found.items()]))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
