"""From a plan to the queue: what the results so far call for is queued, once."""

from __future__ import annotations

import hashlib

import optuna

from core.tracking.protocol import Tracker
from studies.definition import Study
from studies.plan import Job, Plan
from studies.running import queue as jobs
from studies.storage import alone


def extend(queue: optuna.Study, study: Study, tracker: Tracker) -> Plan:
    """Queue what the results so far call for; the plan."""
    plan = study.kind.plan(jobs.ended(queue), jobs.limit_of(queue))
    known = jobs.latest(queue)
    if any(job.key not in known for job in plan.jobs):
        with alone(queue._storage, queue.study_name, tracker.store_dir):
            _enqueue_missing(queue, study, tracker, plan)
    if jobs.later(queue) != plan.later:
        queue.set_user_attr("later", plan.later)
    return plan


def _enqueue_missing(queue: optuna.Study, study: Study, tracker: Tracker, plan: Plan) -> None:
    known = jobs.latest(queue)  # another worker may have been quicker
    runs = dict(queue.user_attrs["variant_run_ids"])
    for job in (job for job in plan.jobs if job.key not in known):
        if job.variant.name not in runs and job.arm is None:
            runs[job.variant.name] = _variant_run(queue, study, tracker, job)
            queue.set_user_attr("variant_run_ids", runs)
        jobs.enqueue(queue, job)


def _variant_run(queue: optuna.Study, study: Study, tracker: Tracker, job: Job) -> str:
    name, variant = queue.study_name, job.variant
    record = tracker.start_run(
        name,
        variant.name,
        params=dict(variant.values),
        tags={
            "study": name,
            "kind": study.table.kind,
            "level": "variant",
            "variant": variant.name,
            **({"whole": "true"} if variant.whole else {}),
        },
        parent_id=queue.user_attrs["parent_run_id"],
        identity=hashlib.sha256(f"{name}/{variant.name}".encode()).hexdigest()[:32],
    )
    record.flush()
    return record.run_id
