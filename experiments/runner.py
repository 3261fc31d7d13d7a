"""One run from a configuration: corpus, players, training, evaluation, everything on record.

Beside the tracking store, `runs/<run id>/` keeps the configuration, the checkpoint and, once the
run has ended, its result; a resumed run needs nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from core.batches import Batches
from core.checkpoint import Checkpoint
from core.config import Config
from core.diagnostics import diagnose
from core.errors import MachineError, machine_error
from core.metrics.nll_gen import nll_gen
from core.metrics.suite import Suite
from core.players import build
from core.shares import ALONE, Share, joined
from core.steps import Diverged
from core.text.build import prepare_corpus
from core.text.corpus import Corpus
from core.text.generated import Oracle, draw_corpus, fitted, oracle_of
from core.text.settings import CorpusSettings
from core.tracking.environment import difference, environment_tags
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import Outcome, RunTracker, Sample, Tracker
from core.train import Stopped, Trainer
from core.walks import Walk, walk_alone
from experiments.checkpoints import Checkpoints
from experiments.description import description
from experiments.figures import curves_figure
from experiments.generate import Writer, make_writer, save_generator
from experiments.interrupts import gentle_interrupts
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
from variants import registry

Text = list[list[str]]
Gently = Callable[[Callable[[], None]], contextlib.AbstractContextManager[None]]
COLLAPSED_BELOW = 0.1  # unique fraction of the last evaluation


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
        one = open_run(wanted, known, tracker, share)
        result = walk_alone(one.walk(), one.trainer)
        return replace(result, run_id=share.text_of_leader(result.run_id))


def open_run(wanted: Wanted, known: Prepared, tracker: Tracker, share: Share = ALONE) -> Run:
    """The run with its parts, its record and its folder, where it was left if it is resumed."""
    config, folder = known.config, known.folder
    prepare = partial(_prepare, config, known.device, tracker.world, share, wanted.tested)
    parts = leader_first(share, prepare)
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


def _prepare(
    config: Config, device: torch.device, world: Path, share: Share, tested: bool
) -> Parts:
    oracle = oracle_of(config.corpus, config.model.length)
    corpus = open_corpus(config.corpus, world, config.model.length)
    size, length = config.train.batch_size, config.model.length
    batches = Batches(corpus.train, size, length, config.seed, share)
    return Parts(config, device, corpus, batches, oracle, tested, share)


def _start(tracker: Tracker, parts: Parts, begun: Wanted) -> tuple[RunTracker, Path]:
    """A new run's record and folder."""
    config, tags = parts.config, begun.tags
    identity = _identity(tags, config.seed)
    # The settings come before the run, so that whatever kills it a run can be gone on with.
    keep_config(tracker.world / "runs" / identity, config)
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
    folder = folder_of(tracker.world / "runs", identity, record.run_id)
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


def open_corpus(
    settings: CorpusSettings,
    world: Path,
    length: int,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """The corpus of a run, built below the store's folder unless it is there already.

    `progress` hears how many sentences a build has kept so far.
    """
    return prepare_corpus(
        fitted(settings, length),
        world / "corpora",
        max_words=length - 1,
        generate=draw_corpus,
        progress=progress,
    )


@dataclass(frozen=True)
class Parts:
    """What a run is made of, before any weights."""

    config: Config
    device: torch.device
    corpus: Corpus
    batches: Batches
    oracle: Oracle | None
    tested: bool = False
    share: Share = ALONE


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
        references = self.corpus.validation.sentences(self.config.evaluation.references)
        self.suite = Suite(references, self.corpus.train, parts.oracle)
        self.oracle, self.tested = parts.oracle, parts.tested
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

    def walk(self, gently: Gently = gentle_interrupts) -> Walk[Result]:
        """Train to the end, whatever the end is; `gently` hears of interrupts while training."""
        try:
            with gently(self.trainer.interrupt):
                if self.trainer.counters.update == 0 and self.share.leads:
                    self._log_real_text()
                outcome, reason = yield from self._train()
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

    def _train(self) -> Walk[tuple[Outcome, str]]:
        try:
            try:
                yield from self.trainer.walk(self._evaluate, self._save)
            except Diverged as diverged:
                self._keep_divergence(diverged)
                if not self.trainer.roll_back(self.checkpoints.last()):
                    raise
                update = self.trainer.counters.update
                self.record.set_tags({"rolled_back": f"{diverged}; went back to update {update}"})
                yield from self.trainer.walk(self._evaluate, self._save)
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
            references = self.corpus.test.sentences(self.config.evaluation.references)
            suite = Suite(references, self.corpus.train, self.oracle)
            values = self._scores("test", suite, self._drawn("test"))
        values = self.share.values_of_leader(values)
        self.record.log_metrics(values, counters.update)
        counters.evaluation = {**counters.evaluation, **values}

    def _writer(self) -> Writer:
        trainer = self.trainer
        return make_writer(
            self.config, trainer.players.averaged, self.corpus.vocabulary, trainer.progress
        )

    def _drawn(self, stream: str) -> Text:
        """Sentences of the generator, from the same latents every time."""
        count = self.config.evaluation.sentences
        return self._writer().tokens(count, 1.0, self.config.seed, stream)

    def _evaluate(self) -> None:
        """Score, show the first sentences, and stop at a collapse. The leader looks for all."""
        settings, counters, sentences = self.config.evaluation, self.trainer.counters, Text()
        values = dict[str, float | None]()
        if self.share.leads:
            sentences = self._drawn("evaluation")
            values = self._scores("eval", self.suite, sentences) | self._diagnoses()
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
        counters, writer = self.trainer.counters, self._writer()
        counters.samples += [
            (counters.update, row, writer.text(words)) for row, words in enumerate(sentences)
        ]
        self.record.log_samples([Sample(*sample) for sample in counters.samples])

    def _scores(
        self, prefix: Literal["eval", "test"], suite: Suite, text: Text
    ) -> dict[str, float | None]:
        """Metrics of what was written, and of the writer itself on the references' split."""
        split, writer = self.corpus.validation, self._writer()
        if prefix == "test":
            split = self.corpus.test
        rows = split.rows(np.arange(len(suite.references)), self.config.model.length)
        values = suite.evaluate(text)
        values["nll_gen"] = nll_gen(writer.generator, writer.drawing, rows).value
        return {f"{prefix}/{name}": value for name, value in values.items()}

    def _is_collapsed(self) -> bool:
        return (self.trainer.counters.evaluation["eval/unique"] or 0.0) < COLLAPSED_BELOW

    def _diagnoses(self) -> dict[str, float | None]:
        trainer, train = self.trainer, self.config.train
        split = self.corpus.validation
        count = min(train.micro_batch or train.batch_size, len(split))
        rows = split.rows(np.arange(count), self.config.model.length)
        real = torch.from_numpy(rows).to(trainer.steps.device)
        stream = f"diagnosis {trainer.counters.update}"
        return diagnose(self.config, trainer.players, real, trainer.progress, stream)

    def _log(self, values: Mapping[str, float | None], step: int) -> None:
        self.record.log_metrics(values, step)
        if self.report is not None:
            self.report(step, self.config.train.updates, values)

    def _log_real_text(self) -> None:
        """Held-out text scored as if it had been generated: the row to compare with."""
        real = self.suite.evaluate(self.corpus.test.sentences(self.config.evaluation.sentences))
        self.record.log_metrics({f"real/{name}": value for name, value in real.items()}, 0)

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
        self._log_figures()
        ending = f"{outcome} after {counters.update} updates in {counters.seconds:.0f} s"
        record.describe(description(self.config, record.run_id, ending, counters.samples))
        spent = {"updates": str(counters.update), "seconds": f"{counters.seconds:.1f}"}
        record.set_tags(spent | self.checkpoints.best(self.trainer))
        record.finish(outcome, reason)
        temporary_file = self.folder / "result.writing"
        temporary_file.write_text(json.dumps(result.document()), encoding="utf-8")
        temporary_file.replace(self.folder / "result.json")
        return result

    def _log_figures(self) -> None:
        def curves(*keys: str) -> dict[str, list[tuple[int, float]]]:
            found = {key: self.record.history(key) for key in keys}
            return {key.partition("/")[2]: curve for key, curve in found.items() if curve}

        panels = {
            "losses": curves("train/generator_loss", "train/discriminator_loss"),
            "mean difference of real and fake": curves("train/mean_difference"),
            "overlap with real text": curves("eval/ms_jaccard_2", "eval/ms_jaccard_3"),
            "diversity": curves("eval/unique", "eval/distinct_2"),
        }
        drawn = {title: lines for title, lines in panels.items() if lines}
        if drawn:  # a run may end before its first point
            self.record.log_figure(curves_figure(drawn), "figures/curves.png")


def _begin(record: RunTracker, config: Config, corpus: Corpus) -> None:
    record.log_text(config.toml(), "config.toml")
    record.log_dataset(Path(config.corpus.source).name, corpus.fingerprint, config.corpus.source)
    patch = difference()
    if patch:
        record.log_text(patch, "uncommitted.patch")
