"""A run in this process: its training state, what happens at its evaluations, and its end."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from core.config import Config
from core.errors import MachineError, machine_error
from core.files import write_atomically
from core.metrics.catalogue import checkpoint_key
from core.plural import count
from core.process import check_interrupted
from core.text.corpus import Corpus
from core.tracking.protocol import Outcome, RunTracker
from core.tracking.rendering import Sample, plain
from core.training import data_parallel
from core.training.batches import Batches
from core.training.checkpoint import Checkpoint
from core.training.loop import Stopped, Trainer
from core.training.optimisation import Diverged
from core.training.players import build
from core.training.state import TrainingState
from experiments.environment import Usage
from experiments.generate import save_generator
from experiments.single_run.checkpoints import Checkpoints, kept
from experiments.single_run.evaluator import Evaluator
from experiments.single_run.page import description, log_curves
from variants import registry

Sentences = list[list[str]]
Report = Callable[
    [int, int | None, Mapping[str, float | None]], None
]  # update, of how many, values


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    run_id: str
    outcome: Outcome
    updates: int
    seconds: float
    metrics: Mapping[str, float | None]  # "eval/..." of the last evaluation, "eval_best/..."
    reason: str = ""  # of its end, unless it used its whole budget

    def document(self) -> dict[str, Any]:
        """For `--json`; with a reason if there is one."""
        return {key: value for key, value in asdict(self).items() if value != ""}


class Collapsed(Exception):  # noqa: N818 - a result, not an error
    """The samples of too many evaluations in a row have collapsed."""


OUTCOMES: Mapping[type[Exception], Outcome] = {
    Diverged: "diverged",
    Collapsed: "collapsed",
    Stopped: "killed",
}


def training_state(config: Config, corpus: Corpus, device: torch.device) -> TrainingState:
    """The state of a run before its first update."""
    players = build(config, registry(), len(corpus.vocabulary), device)
    size = data_parallel.local_batch_size(config.train.batch_size)
    batches = Batches(corpus.train, size, config.model.length, config.seed)
    return TrainingState(config, players, batches, device)


def restore(state: TrainingState, saved: Checkpoint, path: Path, remedy: str) -> None:
    """Continue where the checkpoint of this path was taken; MachineError where it does not fit."""
    try:
        state.restore(saved)
    except (RuntimeError, KeyError, ValueError, IndexError, TypeError) as error:
        raise MachineError(
            f"{path}: does not fit the run's configuration "
            f"({str(error).splitlines()[0][:200]}); {remedy}"
        ) from None


class Session:
    """Trains one run and records it. Rank 0 evaluates, records and saves for all."""

    def __init__(
        self,
        config: Config,
        corpus: Corpus,
        device: torch.device,
        record: RunTracker,
        folder: Path,
        report: Report | None,
    ) -> None:
        self.config, self.corpus = config, corpus
        self.record, self.folder, self.report = record, folder, report
        self.state = training_state(config, corpus, device)
        self.trainer = Trainer(self.state, self._log)
        self.evaluator = Evaluator(corpus, self.state)
        self.checkpoints = Checkpoints(folder, config)
        self.usage = Usage(device)
        saved = self.checkpoints.last()
        if saved is not None:
            restore(self.state, saved, self.checkpoints.path, "remove it to start the run anew")

    def run(self, *, test: bool, likelihood: bool) -> Result:
        """Train to the end, however it ends. With `test` the test split is scored at the end; with
        `likelihood` a language model is scored as one more baseline.
        """
        self.likelihood = likelihood
        with interrupts_after_the_update(self.trainer.interrupt):
            while True:
                early: Diverged | Collapsed | Stopped | None = None
                try:
                    self.trainer.train(self._evaluate, self._save)
                except (Diverged, Collapsed, Stopped) as raised:
                    early = raised
                if not (isinstance(early, Diverged) and self._rolled_back(early)):
                    break
        outcome, reason = self._outcome(early)
        if outcome != "killed":
            self._score_picks(test=test, diverged=outcome == "diverged")
        return self._end(outcome, reason)

    def _rolled_back(self, diverged: Diverged) -> bool:
        """Keep what diverged, and go back to the last checkpoint: once, if `train.rollback` says
        so. Whether the run goes on from there.
        """
        self._keep_divergence(diverged)
        saved = self.checkpoints.last()
        if self.config.train.rollback is None or self.state.counters.rollbacks or saved is None:
            return False
        counters = self.state.counters
        picked = counters.best, counters.stop  # their checkpoints are kept, also if newer
        self.state.restore(saved)
        counters = self.state.counters
        counters.rollbacks, (counters.best, counters.stop) = 1, picked
        self._save()  # a run that is resumed from here has used its rollback
        update = counters.update
        self.record.set_tags({"rolled_back": f"{diverged}; went back to update {update}"})
        return True

    def _outcome(self, early: Diverged | Collapsed | Stopped | None) -> tuple[Outcome, str]:
        """Outcome and reason, given what ended the training before its time, if anything did."""
        if early is not None:
            return OUTCOMES[type(early)], str(early)
        if collapse := self.state.counters.collapse:
            return "collapsed", collapse
        stop, best = self.config.train.stop, self.state.counters.stop
        if stop is None or best is None or self.state.budget_spent():
            return "ok", ""
        return "ok", f"stopped early: {stop.metric} did not improve after update {best[0]}"

    # What the loop calls.

    def _evaluate(self) -> None:
        """Score, record the first sentences, and stop if the generator has collapsed."""
        settings, counters = self.config.evaluation, self.state.counters
        sentences: Sentences = []
        values: dict[str, float | None] = {}
        collapse = ""
        if data_parallel.is_main():
            rows = self.evaluator.drawn("evaluation")
            sentences = self.evaluator.sampler().decode(rows[: settings.shown])
            values = self.evaluator.validation(rows)
            self.state.update_picks(values)
            if counters.update:  # an untrained generator has not collapsed
                collapse = self.evaluator.collapse(rows, last=self.state.ended())
            if self.state.ended() or self._gives_up(collapse):
                values |= self.evaluator.last(rows)
            values |= self.evaluator.diagnoses(settings.gradients)
        is_first = not counters.evaluation
        values, counters.collapse = data_parallel.broadcast((values, collapse))
        if not data_parallel.is_main():
            self.state.update_picks(values)
        counters.evaluation = {k: v for k, v in values.items() if k.startswith("eval/")}
        ends = self._gives_up(counters.collapse)
        counters.collapsed = counters.collapsed + 1 if counters.collapse else 0
        self._log(values, counters.update)
        if data_parallel.is_main():
            self._log_sentences(sentences)
            if is_first:  # after the run's own values: the UI shows metrics in this order
                self._log_baselines()
            self.checkpoints.offer(self.state)
        if ends:
            raise Collapsed(
                f"{counters.collapse}; stopped at update {counters.update} after "
                f"{counters.collapsed} such evaluations"
            )

    def _log_baselines(self) -> None:
        """Record the scores of texts that no run has generated, and the signature of all scores."""
        store_dir = self.folder.parents[1]  # the folder is STORE/runs/ID
        baselines = self.evaluator.baselines(store_dir, likelihood=self.likelihood)
        self.record.log_metrics(baselines, 0)
        self.record.set_tags(self.evaluator.signatures(test=False))

    def _log_sentences(self, sentences: Sentences) -> None:
        """Add sentences to the table of samples."""
        counters, sampler = self.state.counters, self.evaluator.sampler()
        counters.samples += [
            (counters.update, row, sampler.text(sentence)) for row, sentence in enumerate(sentences)
        ]
        self.record.log_samples([Sample(*sample) for sample in counters.samples])

    def _log(self, values: Mapping[str, float | None], step: int) -> None:
        self.record.log_metrics({**values, **self.usage.sample()}, step)
        if self.report is not None:
            self.report(step, self.config.train.updates, values)

    def _save(self) -> None:
        if not data_parallel.is_main():
            return
        self.record.persist()  # a checkpoint never knows more than the journal
        self.checkpoints.save(self.state)

    def _gives_up(self, collapse: str) -> bool:
        """Whether an evaluation with this reason ends the run."""
        patience, before = self.config.evaluation.collapse_patience, self.state.counters.collapsed
        return bool(collapse) and 0 < patience <= before + 1

    # The end.

    def _keep_divergence(self, diverged: Diverged) -> None:
        """Keep the state that diverged, and its numbers."""
        numbers = {
            key: value if isfinite(value) else None for key, value in diverged.values.items()
        }
        update = self.state.counters.update
        document = {"reason": str(diverged), "updates": update, "values": numbers}
        self.record.log_text(json.dumps(document, indent=2), "diverged.json")
        if data_parallel.is_main():
            self.checkpoints.keep_diverged(self.state)

    def _score_picks(self, *, test: bool, diverged: bool) -> None:
        """Score the checkpoint that each rule picks: on other sentences of the test split, which
        nothing was chosen by, and if it is not the last one also on validation, as `eval_best/...`.
        """
        counters = self.state.counters
        for rule in self.config.rules if data_parallel.is_main() else ():
            state = self._picked(rule)
            if diverged and state is self.state:
                continue  # that is the state that diverged
            evaluator, values = self.evaluator.of(state), {}
            if rule != "last":
                rows = evaluator.drawn("evaluation")
                values = evaluator.validation(rows) | evaluator.last(rows)
            if test:
                values |= evaluator.test()
                self.record.set_tags(evaluator.signatures(test=True))
            values = {checkpoint_key(key, rule): value for key, value in values.items()}
            self.record.log_metrics(values, state.counters.update)
            counters.evaluation = {**counters.evaluation, **values}

    def _picked(self, rule: str) -> TrainingState:
        """The state that a rule has picked; the last one if there is no other."""
        saved = self.checkpoints.picked(rule)
        if saved is None:
            return self.state
        state = training_state(self.config, self.corpus, self.state.device)
        state.restore(saved)
        return state

    def _end(self, outcome: Outcome, reason: str) -> Result:
        """Record model, figures and description; the result."""
        counters, record = self.state.counters, self.record
        result = Result(
            record.run_id, outcome, counters.update, counters.seconds, counters.evaluation, reason
        )
        if not data_parallel.is_main():
            return result
        modelled = self._log_models()
        log_curves(record)
        ending = f"{outcome} after {count(counters.update, 'update')} in {counters.seconds:.0f} s"
        ending += f", {plain(reason)}" if reason else ""
        if modelled != counters.update:
            ending += f"; the model is that of update {modelled}"
        record.describe(description(self.config, record.run_id, ending, counters.samples))
        spent = {
            "updates": str(counters.update),
            "seconds": f"{counters.seconds:.1f}",
            "evaluation_seconds": f"{counters.evaluating:.1f}",
        }
        reasons = {f"undefined.{name}": why for name, why in self.evaluator.reasons.items()}
        record.set_tags(spent | reasons | self.checkpoints.picks(self.state))
        record.log_metrics(self.usage.sample(last=True), counters.update)
        record.finish(outcome, reason)
        write_atomically(self.folder / "result.json", json.dumps(result.document()))
        return result

    def _log_models(self) -> int:
        """Log the generator that the first rule picks as the run's model, and those of the other
        checkpoints that are kept; the update of the first.
        """
        logged: list[int] = []
        for name in (self.config.rules[0], *kept(self.folder)):
            state = self._picked(name)
            if (update := state.counters.update) in logged:
                continue
            with tempfile.TemporaryDirectory() as folder:
                generator = state.players.averaged
                save_generator(Path(folder), self.config, generator, self.corpus.vocabulary)
                self.record.log_model(Path(folder), update, kept=bool(logged))
            logged.append(update)
        return logged[0]


@contextlib.contextmanager
def failures_recorded(record: RunTracker, config: Config) -> Iterator[None]:
    """If the run fails or is interrupted inside, its record says how. The error is raised again, in
    words if it is the machine's.
    """
    try:
        yield
    except KeyboardInterrupt:
        record.finish("killed", "interrupted; `--resume` continues from the last checkpoint")
        raise
    except BaseException as error:
        known = machine_error(error, config.train.batch_size)
        words = str(known) if known else f"{type(error).__name__}: {error}"
        with contextlib.suppress(MachineError):  # the disk may have no room even for this
            record.finish("failed", words[:500])
        if known is None:
            raise
        raise known from error


@contextlib.contextmanager
def interrupts_after_the_update(note: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM (a machine that shuts down) call `note`; the second interrupts at once.
    Outside the main thread, which alone receives signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def handle(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        note()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        check_interrupted()
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
