"""Sentences of the generator in training, their scores, and diagnoses of both players."""

from __future__ import annotations

import numpy as np
import torch

from core.metrics.suite import Suite
from core.text.corpus import Corpus, Split
from core.text.oracles import oracle_of
from core.training.diagnostics import diagnose
from core.training.nll_gen import nll_gen
from core.training.state import TrainingState
from experiments.generate import SentenceSampler, make_sampler

Text = list[list[str]]
Values = dict[str, float | None]


class Evaluator:
    """Evaluates the players of a run as they are; changes nothing."""

    def __init__(self, corpus: Corpus, state: TrainingState) -> None:
        self.config, self.corpus, self.state = state.config, corpus, state
        self.oracle = oracle_of(self.config.corpus, self.config.model.length)
        self.suite = self._suite(corpus.validation)

    def _suite(self, split: Split) -> Suite:
        references = split.sentences(self.config.evaluation.references)
        return Suite(references, self.corpus.train, self.oracle)

    def sampler(self) -> SentenceSampler:
        """The generator that is shown and scored, at the run's temperature."""
        state = self.state
        return make_sampler(
            self.config, state.players.averaged, self.corpus.vocabulary, state.progress
        )

    def drawn(self, stream: str) -> Text:
        """Its sentences, from the same latents every time."""
        count = self.config.evaluation.sentences
        return self.sampler().tokens(count, 1.0, self.config.seed, stream)

    def validation(self, text: Text) -> Values:
        """Scores `eval/...` of what was written, by the validation split."""
        return self._scores("eval", self.suite, self.corpus.validation, text)

    def test(self) -> Values:
        """Scores `test/...` of other sentences, by the split that nothing was chosen by."""
        split = self.corpus.test
        return self._scores("test", self._suite(split), split, self.drawn("test"))

    def real(self) -> Values:
        """`real/...`: held-out text as if it had been generated: the row to compare with."""
        values = self.suite.evaluate(self.corpus.test.sentences(self.config.evaluation.sentences))
        return {f"real/{name}": value for name, value in values.items()}

    def _scores(self, prefix: str, suite: Suite, split: Split, text: Text) -> Values:
        """Metrics of what was written, and of the sampler itself on the references."""
        sampler = self.sampler()
        rows = split.rows(np.arange(len(suite.references)), self.config.model.length)
        values = suite.evaluate(text)
        values["nll_gen"] = nll_gen(sampler.generator, sampler.drawing, rows).value
        return {f"{prefix}/{name}": value for name, value in values.items()}

    def diagnoses(self, gradients: int) -> Values:
        """`diagnosis/...` of both players, on held-out text, with so many gradients of G."""
        state, train = self.state, self.config.train
        split = self.corpus.validation
        count = min(train.micro_batch or train.batch_size, len(split))
        rows = split.rows(np.arange(count), self.config.model.length)
        real = torch.from_numpy(rows).to(state.device)
        stream = f"diagnosis {state.counters.update}"
        return diagnose(self.config, state.players, real, state.progress, stream, gradients)
