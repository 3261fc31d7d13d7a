"""Several jobs taken at once: each is a trial of its own, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from core.errors import InputError
from core.tracking.null import MemoryTracker
from core.tracking.protocol import Tracker
from experiments.commands.stacks import stack_words
from studies.analysis.standing import trained_together
from studies.plan import Limit
from studies.reading import read
from studies.running.execute import begin, resume, work
from studies.running.planning import in_stacks
from studies.running.progress import progress
from studies.running.queue import latest, limit_of, load_queue
from studies.storage import storage_url
from tests.studies.test_studies import NAME, FakeTraining, plan
from variants import registry

FEW = ('study.axes.next_input=["noise"]', "study.axes.sampling=['detached']", "study.seeds=3")
STACK = Limit(stack=3)


class FakeStack:
    """Trains each of a stack with the stand-in, one behind the other."""

    def __init__(self, training: FakeTraining) -> None:
        self.training, self.stacks = training, []  # type: ignore[var-annotated]

    def __call__(self, tracker: Tracker, orders: Sequence[Any]) -> list[Any]:
        self.stacks.append([order["name"] for order in orders])
        return [self._one(tracker, order) for order in orders]

    def _one(self, tracker: Tracker, order: Any) -> Any:
        try:
            return self.training(tracker=tracker, **order)
        except BaseException as error:  # noqa: BLE001
            return error


def begun(tmp_path: Path, limit: Limit = STACK) -> tuple[MemoryTracker, str]:
    tracker = MemoryTracker(tmp_path)
    begin(plan(*FEW), NAME, tracker, url := storage_url(tracker), "", limit)
    return tracker, url


def alone(*_: object, **__: object) -> Any:
    raise AssertionError("nothing is trained alone")


def test_the_seeds_of_a_variant_are_taken_together(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path)
    stack = FakeStack(FakeTraining())
    work(NAME, tracker, url, alone, registry(), together=stack)
    assert [len(names) for names in stack.stacks] == [3, 3]
    for names in stack.stacks:
        assert len({name.partition(" · seed")[0] for name in names}) == 1
    queue = load_queue(NAME, url)
    state = progress(queue, plan(*FEW).table)
    assert (state.done, state.waiting, state.running, state.failed) == (6, 0, 0, 0)
    runs = {trial.user_attrs["run_id"] for trial in latest(queue).values()}
    assert len(runs) == 6
    assert trained_together(read(tracker, NAME)) == []


def test_those_that_break_are_tried_again_without_the_others(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path)
    training = FakeTraining(lambda variant, seed: ValueError("x") if seed > 0 else None)
    work(NAME, tracker, url, alone, registry(), together=FakeStack(training))
    queue = load_queue(NAME, url)
    failed = [key for key, trial in latest(queue).items() if trial.state == TrialState.FAIL]
    assert [seed for _, seed in failed] == [1, 2, 1, 2]
    resume(NAME, url, None, STACK)
    stack = FakeStack(FakeTraining())
    work(NAME, tracker, url, alone, registry(), together=stack)
    assert [len(names) for names in stack.stacks] == [2, 2]
    assert all(resumed for _, _, resumed in stack.training.seen)
    assert progress(load_queue(NAME, url), plan(*FEW).table).done == 6


def test_an_interrupt_leaves_every_job_waiting(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path)
    training = FakeTraining(lambda variant, seed: KeyboardInterrupt())  # type: ignore[arg-type, return-value]
    with pytest.raises(KeyboardInterrupt):
        work(NAME, tracker, url, alone, registry(), together=FakeStack(training))
    state = progress(load_queue(NAME, url), plan(*FEW).table)
    assert (state.done, state.waiting, state.running) == (0, 6, 0)


def test_who_was_planned_to_be_alone_stays_alone_after_an_interrupt(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    four = plan(*FEW, "study.seeds=4")
    begin(four, NAME, tracker, url := storage_url(tracker), "", STACK)
    training = FakeTraining(lambda variant, seed: KeyboardInterrupt())  # type: ignore[arg-type, return-value]
    with pytest.raises(KeyboardInterrupt):
        work(NAME, tracker, url, alone, registry(), together=FakeStack(training))
    resume(NAME, url, four, STACK)
    stack = FakeStack(FakeTraining())
    work(NAME, tracker, url, alone, registry(), together=stack)
    seeds = [[name[-1] for name in names] for names in stack.stacks]
    assert seeds == [["0", "1", "2"], ["3"], ["3"], ["0", "1", "2"]]


def test_what_trains_may_break_as_a_whole(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path)

    def broken(*_: object) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(NAME, tracker, url, alone, registry(), together=broken)
    state = progress(load_queue(NAME, url), plan(*FEW).table)
    assert (state.waiting, state.running) == (6, 0)


def test_a_number_of_runs_is_a_budget_of_stacks_too(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path, Limit(trials=4, stack=3))
    stack = FakeStack(FakeTraining())
    work(NAME, tracker, url, alone, registry(), together=stack)
    assert [len(names) for names in stack.stacks] == [3, 1]
    assert limit_of(load_queue(NAME, url)).stack == 3


def test_jobs_of_equal_shape_are_brought_together_in_their_order() -> None:
    jobs = plan(*FEW, "study.seeds=5").kind.plan(()).jobs
    assert in_stacks(jobs, 1) == [[job] for job in jobs]
    found = [[(job.variant.name, job.seed) for job in stack] for stack in in_stacks(jobs, 2)]
    one, other = jobs[0].variant.name, jobs[1].variant.name
    stacks = [(name, pair) for pair in ((0, 1), (2, 3), (4,)) for name in (one, other)]
    assert found == [[(name, seed) for seed in pair] for name, pair in stacks]


def test_what_is_not_stacked_is_said_with_its_reason() -> None:
    study = plan(*FEW, "study.axes.sampling=['detached', {name='gumbel_softmax', feedback='soft'}]")
    assert stack_words(study, Limit()) == []
    first, rest = stack_words(study, STACK)
    assert "3 runs of equal shape" in first
    assert "benchmarks/README.md" in first
    assert rest.count('sampling.feedback = "soft": its rollout carries the gradient') == 2
    with pytest.raises(
        InputError, match=r"discriminator\.dropout = 0\.1: each run draws its masks"
    ):
        stack_words(plan(*FEW, "discriminator.name=projection", "discriminator.dropout=0.1"), STACK)
    with pytest.raises(InputError, match=r"study\.seeds = 1: no other run has its shape"):
        stack_words(plan(*FEW, "study.seeds=1"), STACK)
    with pytest.raises(InputError, match=r"train\.minutes = 0\.1: a stack's clock"):
        stack_words(plan(*FEW, "study.budget.seconds=6"), STACK)
