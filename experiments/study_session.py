"""`textgan study`: begins, resumes or joins a study, and works until it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna

from core import process
from core.addresses import SQLITE
from core.config import override
from core.errors import DeletedError, InputError, MachineError, first_line
from core.plural import count
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_client import DEFAULT_FOLDER
from core.tracking.mlflow_store import MissingStoreError, existing_tracker, open_tracker
from core.tracking.protocol import RunTracker, Tracker, study_run
from experiments.console import progress as progress_bar
from experiments.console import stderr
from experiments.corpora import prepare
from experiments.loading import resolve_file
from experiments.single_run.fork import check_fork, resolve_fork
from experiments.single_run.run import find as find_run
from experiments.single_run.run import run
from experiments.study_output import status
from experiments.study_worker import (
    Cluster,
    WorkerTask,
    check_cluster,
    check_machine,
    launch,
    store_fingerprints,
)
from studies.definition import RUN, Study, load_study, same_definition, stored_study
from studies.leaderboard import CORPORA, Leaderboard, leaderboard
from studies.plan import Limit
from studies.report import publish
from studies.running import execute
from studies.running.queue import Progress, load_queue, outdone, progress, queue_names
from studies.running.storage import alone, open_storage, storage_url
from variants import registry


@dataclass(frozen=True)
class Session:
    """A study, where it is stored, and this process's part in it."""

    name: str  # in the store
    study: Study
    tracker: Tracker
    storage: str  # URL of Optuna's storage
    joined: bool = False  # another process began the study and publishes its results
    corpora: tuple[Session, ...] = ()  # the studies of its corpora, if it is on several


def find_study(
    source: str,
    overrides: Sequence[str],
    storage: str | None,
    tracking: str | None,
    *,
    resume: bool,
    dry_run: bool = False,
) -> Session:
    """The study of a file or, to be resumed, of a name. A file is checked before a store is opened,
    because opening may create one; a dry run creates none.
    """
    by_name = resume and not (source.endswith(".toml") or Path(source).is_file())
    find = partial(find_file, tracking)
    study = None if by_name else load_study(Path(source), overrides, registry(), find)
    wanted = f"study {source!r} to resume"
    tracker: Tracker
    try:
        tracker = existing_tracker(tracking, wanted)
    except MissingStoreError:
        if resume:
            raise
        tracker = MemoryTracker(Path(DEFAULT_FOLDER)) if dry_run else open_tracker(tracking)
    url = storage or storage_url(tracker)
    if study is not None:
        return Session(study.table.name, study, tracker, url)
    name = study_run(tracker, source).study
    stored = json.loads(load_queue(name, url).user_attrs["definition"])
    study = stored_study(override(stored, overrides), registry(), f"study {source!r}")
    return Session(name, study, tracker, url)


def find_file(tracking: str | None, name: str) -> Path:
    """The file of a system, or that of a run of the store, as studies name it."""
    if not name.startswith(RUN):
        return resolve_file(name)
    key = name.removeprefix(RUN)
    return find_run(existing_tracker(tracking, f"run {key!r}"), key)[1] / "config.toml"


def check_forks(study: Study, tracker: Tracker) -> None:
    """InputError if a fork of the study cannot start from its trunk."""
    for config, trunk in study.kind.forks():
        check_fork(config, trunk, tracker.store_dir)
    for job in study.kind.plan(()).ready:
        if job.config is not None and job.config.fork is not None:
            resolve_fork(job.config, *find_run(tracker, job.config.fork.run))


def begin_or_join(session: Session, command: str, limit: Limit, *, resume: bool) -> Session:
    """Begin the study and those of its corpora, or resume or join them. The session under the
    study's final name.
    """
    url, tracker = session.storage, session.tracker
    if tracker.read_only:
        raise MachineError(f"{tracker.store_dir}: the store is read-only here")
    studies = session.study.on_corpora(registry(), session.name)
    configs = (variant.config for each in studies.values() for variant in each.variants)
    built = prepare(configs, tracker.store_dir)  # all corpora, before anything begins
    session = _begin_or_join(session, command, limit, built, resume=resume)
    if not session.study.table.corpora:
        return session
    queue, found = load_queue(session.name, url), []
    begun = dict(queue.user_attrs.get(CORPORA, {}))
    record = tracker.continue_run(queue.user_attrs["parent_run_id"])
    for corpus, study in studies.items():
        name = begun.get(corpus, f"{session.name}_{corpus}")
        joins = session.joined and corpus in begun
        each = replace(session, name=name, study=study, joined=joins)
        if joins:
            check_machine(load_queue(name, url), study, tracker.store_dir)
        else:
            each = _begin_or_join(each, command, limit, built, resume=corpus in begun)
        begun[corpus] = each.name
        queue.set_user_attr(CORPORA, begun)
        record.set_tags({CORPORA: json.dumps(begun)})
        record.flush()
        found.append(each)
    return replace(session, corpora=tuple(found))


def _begin_or_join(
    session: Session, command: str, limit: Limit, corpora: Mapping[str, str], *, resume: bool
) -> Session:
    """The same for one study, with the fingerprints of its corpora.

    In a storage that several machines reach, an unfinished study of the same definition is joined.
    In SQLite, which is local, every start without `resume` is a new study.
    """
    name, study, tracker, url = session.name, session.study, session.tracker, session.storage
    if resume:
        name = _begun(name, tracker)
        if lost := execute.again_if_gone(name, tracker, url):
            stderr.print(f"deleted in the store, to be trained again: {count(lost, 'run')}")
        if added := execute.grow(name, tracker, url, study):
            stderr.print(f"added: {', '.join(added)}; the report will mention it", markup=False)
        execute.resume(name, url, study, limit)
        store_fingerprints(load_queue(name, url), corpora)
        return replace(session, name=name)
    with alone(open_storage(url), f"begin {name}", tracker.store_dir):
        found = None if url.startswith(SQLITE) else _unfinished(session)
        new = found or execute.free_name(name, tracker, url)
        if found is None:
            for each in study.on_corpora(registry(), name).values():
                check_forks(each, tracker)
            execute.begin(study, new, tracker, url, command, limit)
            store_fingerprints(load_queue(new, url), corpora)
    if found is not None:
        stderr.print(f"study {found!r} is under way; this process joins it")
        check_machine(load_queue(found, url), study, tracker.store_dir)
        return replace(session, name=found, joined=True)
    if new != name:
        stderr.print(
            f"study {name!r} exists; this one is {new!r} (textgan study {name} --resume "
            f"completes the other)"
        )
    return replace(session, name=new)


def _begun(name: str, tracker: Tracker) -> str:
    """The name under which the study was begun; InputError if there is nothing to resume."""
    try:
        return study_run(tracker, name).study
    except DeletedError:
        raise
    except InputError as error:
        raise InputError(f"{error}; there is nothing to resume, leave out --resume") from None


def _unfinished(session: Session) -> str | None:
    """The last study of this definition, if it is not complete."""
    wanted, definition = session.name, session.study.definition()
    names = queue_names(session.storage)
    ours = [n for n in names if wanted in (n, n.rpartition("-")[0])]
    for name in sorted(ours, key=lambda n: (len(n), n), reverse=True):
        queue = load_queue(name, session.storage)
        if session.tracker.gone([queue.user_attrs.get("parent_run_id", "")]):
            continue  # deleted, or of another store
        if not same_definition(definition, queue.user_attrs.get("definition", "{}")):
            continue
        state = progress(queue, session.study.table)
        if state.waiting or state.running or state.later:
            return name
    return None


def complete(
    session: Session, workers: int, minutes: float | None, cluster: Cluster | None
) -> tuple[Leaderboard, str]:
    """Work until the study is complete or the time is over; the leaderboard and its link.

    `workers` processes on this machine, or the workers of a Ray cluster. A process that joined the
    study leaves publishing to the one that began it.
    """
    name, url, tracker = session.name, session.storage, session.tracker
    if session.corpora:
        return _complete_corpora(session, workers, minutes, cluster)
    os.environ["MLFLOW_TRACKING_URI"] = tracker.uri
    until = time.time() + 60 * minutes if minutes is not None else None
    last: list[Progress] = []
    with _recorded(session) as record:
        log = execute.to_record(record, workers) if record else lambda _: None
        with progress_bar(f"{name}: runs") as advance:

            def watch(state: Progress) -> None:
                advance(state.done + state.failed, state.total, status(state, workers))
                log(state)
                last[:] = [state]

            with execute.watching(name, url, session.study.table, watch):
                _work(session, workers, until, cluster)
        if record:
            record.flush()
            for sentence in outdone(load_queue(name, url), session.study):
                stderr.print(sentence, markup=False)
        missing = last[0].waiting + last[0].later if last else 0
        if missing:
            missed = count(missing, "run")
            stderr.print(f"{missed} did not start within the budget; --resume completes the study")
        return _published(session)


@contextlib.contextmanager
def _recorded(session: Session) -> Iterator[RunTracker | None]:
    """The study's run, which ends as killed or failed if the block does; None in a process that
    joined the study.
    """
    if session.joined:
        yield None
        return
    parent = load_queue(session.name, session.storage).user_attrs["parent_run_id"]
    record = session.tracker.continue_run(parent)
    try:
        yield record
    except KeyboardInterrupt:
        record.finish("killed", "interrupted; textgan study FILE --resume completes it")
        raise
    except Exception as error:
        with contextlib.suppress(MachineError):
            record.finish("failed", first_line(error))
        raise


def _published(session: Session) -> tuple[Leaderboard, str]:
    """The leaderboard and its link, published unless the process that began the study does it."""
    if session.joined:
        board = leaderboard(session.tracker, session.name)
        return board, session.tracker.link(board.study)
    return publish(session.tracker, session.name)


def _complete_corpora(
    session: Session, workers: int, minutes: float | None, cluster: Cluster | None
) -> tuple[Leaderboard, str]:
    """One corpus after another, which share the time that is left."""
    until = time.time() + 60 * (minutes or 0)
    with _recorded(session):
        for place, each in enumerate(session.corpora):
            left = (until - time.time()) / 60 / (len(session.corpora) - place)
            complete(each, workers, None if minutes is None else max(left, 0.0), cluster)
        if not any(map(_unfinished, session.corpora)):
            load_queue(session.name, session.storage).set_user_attr("later", 0)
        return _published(session)


def _work(session: Session, workers: int, until: float | None, cluster: Cluster | None) -> None:
    name, url, tracker = session.name, session.storage, session.tracker
    if cluster is not None:
        launch(WorkerTask(name, url, tracker.uri, str(Path.cwd()), until), cluster)
    elif workers == 1:
        execute.work(name, tracker, url, run, registry(), until)
    else:
        command = process.command("experiments", "worker", name, "--storage", url)
        command += ["--until", f"{until:.3f}"] if until is not None else []
        execute.run_workers(name, command, workers)


def check_workers(session: Session, workers: int, cluster: Cluster | None) -> None:
    """InputError if the workers of a cluster cannot work; a warning if those of this machine have
    too few cores.
    """
    if cluster is not None:
        check_cluster(cluster, session.storage, session.tracker.uri)
    elif warning := overcommitted(session.study, workers, os.cpu_count() or 1):
        stderr.print(warning)


def queues(session: Session) -> list[optuna.Study]:
    """The queue of the study, or those of the studies of its corpora."""
    return [load_queue(each.name, each.storage) for each in session.corpora or (session,)]


def overcommitted(study: Study, workers: int, cores: int) -> str | None:
    """A warning if workers with several threads each have too few cores."""
    threads = study.tables.get("train", {}).get("threads", 1)
    if threads == 1 or workers * threads <= cores:
        return None
    return (
        f"train.threads = {threads} with {count(workers, 'worker')}: more threads than cores "
        f"({cores}), so they wait for each other; train.threads = 1 is faster"
    )
