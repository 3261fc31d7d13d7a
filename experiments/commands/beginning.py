"""The beginning of `textgan study`: a new study, one that is resumed, or one that is joined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.config import override
from core.errors import InputError
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import Tracker
from experiments.commands.corpora import prepare
from experiments.console import err
from experiments.joining import check, write_down
from experiments.single_run.loading import resolve_file
from studies.definition import Study, load_study, same_definition, stored_study
from studies.plan import Limit
from studies.running.execute import begin, free_name, grow
from studies.running.execute import resume as resume_study
from studies.running.queue import load_queue, progress
from studies.running.storage import SQLITE, alone, open_storage, storage_url
from variants import registry


@dataclass(frozen=True)
class Begun:
    """A study to work on; one that was joined is led, and published, by another process."""

    name: str
    joined: bool = False


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, and where it is kept."""

    name: str
    plan: Study
    tracker: Tracker
    url: str  # of Optuna's storage


def asked_for(
    source: str,
    overrides: Sequence[str],
    storage: str | None,
    tracking: str | None,
    *,
    resume: bool,
) -> Asked:
    """The study of a file or, to be resumed, of a name. A file is checked before a store is opened,
    which may make one.
    """
    by_name = resume and not (source.endswith(".toml") or Path(source).is_file())
    plan = None if by_name else load_study(Path(source), overrides, registry(), resolve_file)
    tracker = open_tracker(tracking)
    url = storage or storage_url(tracker)
    if plan is not None:
        return Asked(plan.table.name, plan, tracker, url)
    stored = json.loads(load_queue(source, url).user_attrs["definition"])
    plan = stored_study(override(stored, overrides), registry(), f"study {source!r}")
    return Asked(source, plan, tracker, url)


def begin_or_join(
    plan: Study, tracker: Tracker, url: str, command: str, limit: Limit, *, resume: str | None
) -> Begun:
    """The study that this process is to work on; `resume` is the name of one to be completed.

    On a storage that several machines reach, a study of the same definition that is not at its end
    is joined. On SQLite, which one machine has, every start without `resume` is a new study.
    """
    corpora = prepare((variant.config for variant in plan.variants), tracker.store_dir)
    if resume is not None:
        if resume not in tracker.experiments():
            raise InputError(f"no study {resume!r} to resume; leave out --resume to begin it")
        if added := grow(resume, tracker, url, plan):
            err.print(f"{added} more seeds for each variant; the report will say so")
        resume_study(resume, url, plan, limit)
        write_down(load_queue(resume, url), corpora)
        return Begun(resume)
    wanted = plan.table.name
    with alone(open_storage(url), f"begin {wanted}", tracker.store_dir):
        found = None if url.startswith(SQLITE) else _under_way(plan, tracker, url)
        name = found or free_name(wanted, tracker)
        if found is None:
            begin(plan, name, tracker, url, command, limit)
            write_down(load_queue(name, url), corpora)
    if found is not None:
        err.print(f"study {name!r} is under way; this process joins it")
        check(load_queue(name, url), plan, tracker.store_dir)
    elif name != wanted:
        err.print(
            f"study {wanted!r} exists; this one is {name!r} (textgan study {wanted} --resume "
            f"completes the other)"
        )
    return Begun(name, joined=found is not None)


def _under_way(plan: Study, tracker: Tracker, url: str) -> str | None:
    """The last study of this definition, if it has not come to its end."""
    wanted = plan.table.name
    numbered = [n for n in tracker.experiments() if n.rpartition("-")[0] == wanted]
    for name in (*sorted(numbered, key=lambda n: (len(n), n), reverse=True), wanted):
        try:
            queue = load_queue(name, url)
        except InputError:  # of another storage
            continue
        if not same_definition(plan.definition(), queue.user_attrs.get("definition", "{}")):
            continue
        state = progress(queue, plan.table)
        if state.waiting or state.running or state.later:
            return name
    return None
