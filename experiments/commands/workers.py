"""`textgan worker`, `textgan proxy`: what runs on the other machines of a study."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.commands.options import Storage, Tracking, examples


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog=examples(
            "textgan worker design_axes",
            "textgan worker design_axes --storage postgresql://user@db/optuna "
            "--tracking http://tracker:5000",
        )
    )(worker)
    app.command(epilog=examples("textgan proxy --storage postgresql://user@db/optuna"))(proxy)


def worker(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A study that was begun.")],
    storage: Storage = None,
    tracking: Tracking = None,
    until: Annotated[
        float | None, typer.Option(help="Begin no run that would not end by then (Unix time).")
    ] = None,
) -> None:
    """Take runs from a study's queue until it is empty; may join and leave at any time.

    Refuses to where code or corpus are not those that the study was begun with.
    """
    from core.tracking.mlflow_store import open_tracker
    from experiments.joining import check
    from experiments.single_run.run import run as train
    from studies.definition import from_definition
    from studies.running.execute import work
    from studies.running.queue import load_queue
    from studies.running.storage import storage_url
    from variants import registry

    tracker = open_tracker(tracking)
    url = storage or storage_url(tracker)
    queue = load_queue(name, url)
    check(queue, from_definition(queue.user_attrs["definition"], registry()), tracker.store_dir)
    work(name, tracker, url, train, registry(), until)


def proxy(
    storage: Annotated[
        str, typer.Option(metavar="URL", help="The database behind it, postgresql://...")
    ],
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 13000,
) -> None:
    """Stand between a study's database and many workers, until interrupted.

    It keeps what it has read and one pool of connections. Workers use --storage grpc://HOST:PORT.
    Whoever reaches the port may write: listen on a network of your own only.
    """
    from experiments.console import err
    from studies.running.storage import serve_proxy

    err.print(f"workers reach the storage by --storage grpc://{host}:{port}; Ctrl-C ends it")
    serve_proxy(storage, host, port)
