"""The beginning of `textgan study`: a new study, one that is resumed, or one that is joined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.tables import override
from core.tracking.protocol import Tracker
from experiments.commands.corpora import prepare
from experiments.console import err
from experiments.joining import check, write_down
from experiments.loading import resolve_file
from studies.definition import Study, load_study, make_study
from studies.execute import begin, free_name, grow
from studies.execute import resume as resume_study
from studies.plan import Limit
from studies.progress import progress
from studies.queue import load_queue
from studies.storage import SQLITE, alone, open_storage
from variants import registry


@dataclass(frozen=True)
class Begun:
    """A study to work on; one that was joined is led, and published, by another process."""

    name: str
    joined: bool = False


def asked_for(
    source: str, overrides: Sequence[str], url: str, *, resume: bool
) -> tuple[str, Study]:
    """Name and plan of a study file, or of a begun study that is to be resumed by its name."""
    if source.endswith(".toml") or not resume or Path(source).exists():
        plan = load_study(Path(source), overrides, registry(), resolve_file)
        return plan.table.name, plan
    stored = json.loads(load_queue(source, url).user_attrs["definition"])
    return source, make_study(override(stored, overrides), registry(), f"study {source!r}")


def begin_or_join(
    plan: Study, tracker: Tracker, url: str, command: str, limit: Limit, *, resume: str | None
) -> Begun:
    """The study that this process is to work on; `resume` is the name of one to be completed.

    On a storage that several machines reach, a study of the same definition that is not at its end
    is joined. On SQLite, which one machine has, every start without `resume` is a new study.
    """
    corpora = prepare((variant.config for variant in plan.variants), tracker.world)
    if resume is not None:
        if resume not in tracker.experiments():
            raise InputError(f"no study {resume!r} to resume; leave out --resume to begin it")
        if added := grow(resume, tracker, url, plan):
            err.print(f"{added} more seeds for each variant; the report will say so")
        resume_study(resume, url, plan, limit)
        write_down(load_queue(resume, url), corpora)
        return Begun(resume)
    wanted = plan.table.name
    with alone(open_storage(url), f"begin {wanted}", tracker.world):
        found = None if url.startswith(SQLITE) else _under_way(plan, tracker, url)
        name = found or free_name(wanted, tracker)
        if found is None:
            begin(plan, name, tracker, url, command, limit)
            write_down(load_queue(name, url), corpora)
    if found is not None:
        err.print(f"study {name!r} is under way; this process joins it")
        check(load_queue(name, url), plan, tracker.world)
    elif name != wanted:
        err.print(
            f"study {wanted!r} exists; this one is {name!r} (textgan study {wanted} --resume "
            f"completes the other)"
        )
    return Begun(name, joined=found is not None)


def _under_way(plan: Study, tracker: Tracker, url: str) -> str | None:
    """The last study of this definition, if it has not come to its end."""
    wanted, definition = plan.table.name, json.loads(plan.definition())
    numbered = [n for n in tracker.experiments() if n.rpartition("-")[0] == wanted]
    for name in (*sorted(numbered, key=lambda n: (len(n), n), reverse=True), wanted):
        try:
            queue = load_queue(name, url)
        except InputError:  # of another storage
            continue
        if json.loads(queue.user_attrs.get("definition", "null")) != definition:
            continue
        state = progress(queue, plan.table)
        if state.waiting or state.running or state.later:
            return name
    return None
