"""What `textgan study --stack-seeds K` says before it begins: what is trained together, what is
not and why, and what was measured.
"""

from __future__ import annotations

from collections import Counter

from core.errors import InputError
from core.stackable import shape_of, why_alone
from studies.definition import Study
from studies.plan import Limit

MEASURED = (
    "Measured on one CPU core (benchmarks/README.md): at batch 8 small models are 1.1 to 3.7 times "
    "as fast, two transformers of 64 are not; at batch 64 LSTMs of 32 are 1.1 to 1.8 times as "
    "fast, larger models up to a third slower; at batch 256 most are slower. It pays where a run "
    "is tiny; otherwise --workers does."
)
ROWS = 8  # that are named


def stack_words(plan: Study, limit: Limit) -> list[str]:
    """Lines for people; InputError where nothing of the study can be stacked."""
    if limit.stack == 1:
        return []
    jobs = plan.kind.plan((), limit).jobs
    alone = {job.variant.name: why_alone(job.variant.config) for job in jobs}
    shapes = {job.variant.name: shape_of(job.variant.config) for job in jobs}
    sizes = Counter(shapes[job.variant.name] for job in jobs if not alone[job.variant.name])
    reasons = {name: why or _single(plan, sizes[shapes[name]]) for name, why in alone.items()}
    left_out = [f"{name}: {'; '.join(why)}" for name, why in reasons.items() if why]
    if len(left_out) == len(alone):
        raise InputError(
            f"--stack-seeds {limit.stack}: nothing in this study can be stacked; leave it out\n"
            f"{_some(_distinct(reasons))}"
        )
    said = [f"{limit.stack} runs of equal shape are trained at once (--stack-seeds). {MEASURED}"]
    if left_out:
        said.append(f"trained one by one: {_some(left_out)}")
    return said


def _single(plan: Study, runs: int) -> list[str]:
    if runs > 1:
        return []
    return [f"study.seeds = {len(plan.table.seed_list())}: no other run has its shape"]


def _distinct(reasons: dict[str, list[str]]) -> list[str]:
    return list(dict.fromkeys(reason for why in reasons.values() for reason in why))


def _some(lines: list[str]) -> str:
    more = len(lines) - ROWS
    return "\n  ".join(["", *lines[:ROWS], *([f"and {more} more"] if more > 0 else [])]).strip()
