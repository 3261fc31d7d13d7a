"""The course of one run: its parts, what happens at its evaluations, and its end."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from core.checkpoint import Checkpoint
from core.errors import MachineError, machine_error
from core.players import build
from core.steps import Diverged
from core.tracking.protocol import Outcome, RunTracker, Sample, Tracker
from core.train import Stopped, Trainer
from experiments.checkpoints import Checkpoints
from experiments.description import description
from experiments.evaluator import Evaluator
from experiments.figures import log_curves
from experiments.generate import save_generator
from experiments.interrupts import gentle_interrupts
from experiments.parts import Parts
from experiments.wanted import Report, Result
from variants import registry

Text = list[list[str]]
COLLAPSED_BELOW = 0.1  # unique fraction of the last evaluation


class Collapsed(Exception):  # noqa: N818 - a result, not an error
    """G has written next to nothing but the same sentences for too long."""


class Run:
    """The parts of one run, and what happens at its evaluations and its end."""

    def __init__(
        self,
        parts: Parts,
        tracker: Tracker,
        record: RunTracker,
        folder: Path,
        report: Report | None,
    ) -> None:
        self.config, self.corpus = parts.config, parts.corpus
        self.tracker, self.record, self.folder, self.report = tracker, record, folder, report
        players = build(self.config, registry(), len(self.corpus.vocabulary), parts.device)
        self.trainer = Trainer(
            self.config, players, parts.batches, parts.device, self._log, parts.share
        )
        self.share = parts.share
        self.tested = parts.tested
        self.evaluator = Evaluator(parts, self.trainer)
        self.checkpoints = Checkpoints(folder, self.config)
        saved = self.checkpoints.last()
        if saved is not None:
            self._restore(saved)

    def _restore(self, saved: Checkpoint) -> None:
        try:
            self.trainer.restore(saved)
        except (RuntimeError, KeyError, ValueError, IndexError, TypeError) as error:
            raise MachineError(
                f"{self.checkpoints.path}: does not fit the run's configuration "
                f"({str(error).splitlines()[0][:200]}); remove it to start the run anew"
            ) from None

    def train(self) -> Result:
        """Train to the end, whatever the end is."""
        try:
            with gentle_interrupts(self.trainer.interrupt):
                if self.trainer.counters.update == 0 and self.share.leads:
                    self.record.log_metrics(self.evaluator.real(), 0)
                outcome, reason = self._train()
            if self.tested and outcome in ("ok", "collapsed"):
                self._test()
            return self._end(outcome, reason)
        except KeyboardInterrupt:
            update = self.trainer.counters.update
            self.record.finish("killed", f"interrupted at update {update}")
            raise
        except BaseException as error:
            known = machine_error(error, self.config.train.batch_size)
            words = str(known) if known else f"{type(error).__name__}: {error}"
            with contextlib.suppress(MachineError):  # where even this has no room on the disk
                self.record.finish("failed", words[:500])
            if known is None:
                raise
            raise known from error

    def _train(self) -> tuple[Outcome, str]:
        try:
            try:
                self.trainer.train(self._evaluate, self._save)
            except Diverged as diverged:
                self._keep_divergence(diverged)
                if not self.trainer.roll_back(self.checkpoints.last()):
                    raise
                update = self.trainer.counters.update
                self.record.set_tags({"rolled_back": f"{diverged}; went back to update {update}"})
                self.trainer.train(self._evaluate, self._save)
        except Diverged as diverged:
            self._keep_divergence(diverged)
            return "diverged", str(diverged)
        except Collapsed as collapsed:
            return "collapsed", str(collapsed)
        except Stopped as stopped:
            return "killed", str(stopped)
        if self._is_collapsed():
            return "collapsed", f"fewer than {COLLAPSED_BELOW:.0%} unique sentences"
        return "ok", ""

    def _keep_divergence(self, diverged: Diverged) -> None:
        """The state that led there, and its numbers."""
        counters = self.trainer.counters
        numbers = {
            key: value if isfinite(value) else None for key, value in diverged.values.items()
        }
        document = {"reason": str(diverged), "updates": counters.update, "values": numbers}
        self.record.log_text(json.dumps(document, indent=2), "diverged.json")
        if self.share.leads:
            self.checkpoints.keep_diverged(self.trainer)

    def _test(self) -> None:
        """Score sentences of their own against the test split, which nothing was chosen by."""
        counters, values = self.trainer.counters, dict[str, float | None]()
        if self.share.leads:
            values = self.evaluator.test()
        values = self.share.values_of_leader(values)
        self.record.log_metrics(values, counters.update)
        counters.evaluation = {**counters.evaluation, **values}

    def _evaluate(self) -> None:
        """Score, show the first sentences, and stop at a collapse. The leader looks for all."""
        settings, counters, sentences = self.config.evaluation, self.trainer.counters, Text()
        values = dict[str, float | None]()
        if self.share.leads:
            sentences = self.evaluator.drawn("evaluation")
            values = self.evaluator.validation(sentences)
            values |= self.evaluator.diagnoses(settings.gradients)
        values = self.share.values_of_leader(values)
        counters.evaluation = {k: v for k, v in values.items() if k.startswith("eval/")}
        self._log(values, counters.update)
        if self.share.leads:
            self._show(sentences[: settings.shown])
            self.checkpoints.offer(self.trainer)
        counters.collapsed = counters.collapsed + 1 if self._is_collapsed() else 0
        if counters.update == 0:  # nothing has been trained yet
            counters.collapsed = 0
        if settings.patience and counters.collapsed >= settings.patience:
            raise Collapsed(
                f"fewer than {COLLAPSED_BELOW:.0%} unique sentences in {counters.collapsed} "
                f"evaluations, stopped at update {counters.update}"
            )

    def _show(self, sentences: Text) -> None:
        """Add sentences to the table of samples."""
        counters, writer = self.trainer.counters, self.evaluator.writer()
        counters.samples += [
            (counters.update, row, writer.text(words)) for row, words in enumerate(sentences)
        ]
        self.record.log_samples([Sample(*sample) for sample in counters.samples])

    def _is_collapsed(self) -> bool:
        return (self.trainer.counters.evaluation["eval/unique"] or 0.0) < COLLAPSED_BELOW

    def _log(self, values: Mapping[str, float | None], step: int) -> None:
        self.record.log_metrics(values, step)
        if self.report is not None:
            self.report(step, self.config.train.updates, values)

    def _save(self) -> None:
        if not self.share.leads:
            return
        self.record.persist()  # a checkpoint never knows more than the journal
        self.checkpoints.save(self.trainer)

    def _end(self, outcome: Outcome, reason: str) -> Result:
        counters, record = self.trainer.counters, self.record
        result = Result(
            record.run_id, outcome, counters.update, counters.seconds, counters.evaluation
        )
        if not self.share.leads:
            return result
        with tempfile.TemporaryDirectory() as temporary:
            generator = self.trainer.players.averaged
            save_generator(Path(temporary), self.config, generator, self.corpus.vocabulary)
            record.log_model(Path(temporary))
        log_curves(record)
        ending = f"{outcome} after {counters.update} updates in {counters.seconds:.0f} s"
        record.describe(description(self.config, record.run_id, ending, counters.samples))
        spent = {
            "updates": str(counters.update),
            "seconds": f"{counters.seconds:.1f}",
            "evaluating": f"{counters.evaluating:.1f}",
        }
        record.set_tags(spent | self.checkpoints.best(self.trainer))
        record.finish(outcome, reason)
        temporary_file = self.folder / "result.writing"
        temporary_file.write_text(json.dumps(result.document()), encoding="utf-8")
        temporary_file.replace(self.folder / "result.json")
        return result
