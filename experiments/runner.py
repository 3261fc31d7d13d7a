"""One run from a configuration: corpus, players, training, evaluation, everything on record.

Beside the tracking store, `runs/<run id>/` keeps the configuration, the checkpoint and, once the
run has ended, its result; a resumed run needs nothing else.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.config import Config
from core.shares import ALONE, Share, joined
from core.text.corpus import Corpus
from core.tracking.environment import difference, environment_tags
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunTracker, Tracker
from experiments.checkpoints import Checkpoints
from experiments.course import Run
from experiments.parts import Parts, prepare
from experiments.sharing import check_shareable, leader_first, unheard
from experiments.wanted import (
    ID_LENGTH,
    Prepared,
    Report,
    Result,
    Wanted,
    folder_of,
    keep_config,
    look_up,
)


def run(
    config: Config | None,
    *,
    tracker: Tracker | None = None,
    experiment: str = "runs",
    name: str | None = None,
    parent_id: str | None = None,
    tags: Mapping[str, str] | None = None,
    resume: str | None = None,
    report: Report | None = None,
    started: Callable[[str], None] | None = None,
    tested: bool = False,
) -> Result:
    """Train, evaluate and record. `resume` continues a run by id or name (`config` may be None).

    A finished run gives its result again; one that died goes on from its checkpoint, or starts
    anew under its id if it has none. An interrupt ends the run as `killed` after the update that
    is being made, resumable. `report` hears every value and may raise `Stopped`; `started` hears
    the run's id as soon as there is one. A `tested` run is scored on the test split at its end,
    as `test/...`.
    """
    tracker = tracker or open_tracker()
    wanted = Wanted(
        config, experiment, name, parent_id, tags or {}, resume, report, started, tested
    )
    known = look_up(wanted, tracker)
    if isinstance(known, Result):
        return known
    with joined(cuda=known.device.type == "cuda") as share:
        check_shareable(known.config, share)
        result = open_run(wanted, known, tracker, share).train()
        return replace(result, run_id=share.text_of_leader(result.run_id))


def open_run(wanted: Wanted, known: Prepared, tracker: Tracker, share: Share = ALONE) -> Run:
    """The run with its parts, its record and its folder, where it was left if it is resumed."""
    config, folder = known.config, known.folder
    parts = leader_first(
        share, partial(prepare, config, known.device, tracker.store_dir, share, wanted.tested)
    )
    if not share.leads:
        record = unheard()
    elif wanted.resume is not None:
        if not (folder / "config.toml").exists():  # begun on another machine
            keep_config(folder, config)
        record = tracker.continue_run(known.run_id)
        if not Checkpoints(folder, config).any():  # it may have died before all this was said
            record.log_params(config.flat())
            _begin(record, config, parts.corpus)
    else:
        record, folder = _start(tracker, parts, wanted)
    folder = Path(share.text_of_leader(str(folder)))
    return Run(parts, tracker, record, folder, wanted.report)


def _start(tracker: Tracker, parts: Parts, begun: Wanted) -> tuple[RunTracker, Path]:
    """A new run's record and folder."""
    config, tags = parts.config, begun.tags
    identity = _identity(tags, config.seed)
    # The settings come before the run, so that whatever kills it a run can be gone on with.
    keep_config(tracker.store_dir / "runs" / identity, config)
    record = tracker.start_run(
        begun.experiment,
        begun.name or f"{config.name} seed {config.seed}",
        params=config.flat(),
        tags={
            "level": "run",
            "system": config.name,
            "seed": str(config.seed),
            "corpus": parts.corpus.fingerprint,
            "likeness": config.likeness(),
            **environment_tags(parts.device),
            **({"processes": str(parts.share.count)} if parts.share.count > 1 else {}),
            **tags,
        },
        parent_id=begun.parent_id,
        identity=identity,
    )
    folder = folder_of(tracker.store_dir / "runs", identity, record.run_id)
    if begun.started is not None:
        begun.started(record.run_id)
    _begin(record, config, parts.corpus)
    return record, folder


def _identity(tags: Mapping[str, str], seed: int) -> str:
    """What a run is known by before the store has given it an id. A study's run for one variant and
    seed is one, though its first process died at once.
    """
    if not {"study", "variant"} <= tags.keys():
        return uuid.uuid4().hex
    job = json.dumps([tags["study"], tags["variant"], seed])
    return hashlib.sha256(job.encode()).hexdigest()[:ID_LENGTH]


def _begin(record: RunTracker, config: Config, corpus: Corpus) -> None:
    record.log_text(config.toml(), "config.toml")
    record.log_dataset(Path(config.corpus.source).name, corpus.fingerprint, config.corpus.source)
    patch = difference()
    if patch:
        record.log_text(patch, "uncommitted.patch")
