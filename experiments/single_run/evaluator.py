"""Sentences of the generator in training, their scores, and diagnoses of both players."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import copy
from functools import cache
from pathlib import Path

import numpy as np
import torch

from core.config import Config
from core.files import write_atomically
from core.metrics.catalogue import FLOORS, LIKELIHOOD, METRICS
from core.metrics.diversity import bigrams, collapse
from core.metrics.files import of_unequal_counts
from core.metrics.floors import MOST, Floor
from core.metrics.intervals import Measure
from core.metrics.ngrams import Text
from core.metrics.signature import FRESH
from core.metrics.suite import IN_RUNS, Suite
from core.seeding import derive
from core.text.corpus import Corpus, Split, spaced
from core.text.oracles import CorpusDistribution, corpus_distribution, oracle_of
from core.training.diagnostics import diagnose
from core.training.jsd import generator_jsd, jsd
from core.training.nll_gen import nll_gen
from core.training.state import TrainingState
from experiments.baselines import fingerprint, mle_baseline
from experiments.generate import SentenceSampler, make_sampler
from studies.leaderboard import SIGNATURE, TEST_SIGNATURE

Values = dict[str, float | None]
BASELINES = 3  # version of the texts of the baselines; a new one makes their scores anew


def distribution_of(config: Config, corpus: Corpus) -> CorpusDistribution | None:
    """The distribution of a run's corpus; None where it is not known exactly, as of real text."""
    longest = corpus.manifest.max_words or config.model.length
    oracle = oracle_of(config.corpus, config.model.length)
    words = frozenset(corpus.vocabulary.words)
    return corpus_distribution(oracle, config.corpus, longest, words)


def fresh_references(
    distribution: CorpusDistribution | None, count: int, stream: str, seed: int
) -> Text:
    """Fresh sentences of a corpus distribution, by a random stream of their own; none where that is
    not known. A split by a hash of the sentence has only a tenth of all strings.
    """
    if distribution is None:
        return []
    return distribution.sample(count, derive(seed, stream + " references"))


def bound(suite: Suite, text: Text, references: Text) -> Measure:
    """`jsd_bound` against fresh references, or those of the suite where there are none."""
    fresh = suite.against(references) if references else suite
    return fresh.measures(text, ("jsd_bound",))["jsd_bound"]


@cache
def _note(text: str) -> None:
    """Print a note, once in a process: many runs of a study have the same."""
    from experiments.console import stderr

    stderr.print(f"note: {text}", markup=False)


class Evaluator:
    """Evaluates the players of a run as they are; changes nothing."""

    def __init__(self, corpus: Corpus, state: TrainingState) -> None:
        self.config, self.corpus, self.state = state.config, corpus, state
        self.oracle = oracle_of(self.config.corpus, self.config.model.length)
        self.distribution = distribution_of(self.config, corpus)
        self.suite = self._suite(corpus.validation)
        real = self.suite.references
        some = spaced(len(real), self.config.evaluation.sentences)
        self.real_bigrams = bigrams([real[i] for i in some])
        self.reasons: dict[str, str] = {}  # of metrics that are undefined at the last evaluation

    def _suite(self, split: Split) -> Suite:
        references = split.sentences(self.config.evaluation.references)
        return Suite(references, self.corpus.train, self.oracle)

    def of(self, state: TrainingState) -> Evaluator:
        """The same for another state of the run."""
        other = copy(self)
        other.state = state
        return other

    def sampler(self) -> SentenceSampler:
        """The generator that is shown and scored, at the run's temperature."""
        state = self.state
        progress = state.temperature_progress
        return make_sampler(self.config, state.players.averaged, self.corpus.vocabulary, progress)

    def drawn(self, stream: str) -> np.ndarray:
        """Its sentences as ids (n, S), from the same latents every time."""
        count = self.config.evaluation.sentences
        return self.sampler().rows(count, 1.0, self.config.seed, stream)

    def references(self, stream: str, seed: int) -> Text:
        """`fresh_references`, as many as the run compares with."""
        count = self.config.evaluation.references
        return fresh_references(self.distribution, count, stream, seed)

    def validation(self, rows: np.ndarray) -> Values:
        """Scores `eval/...` of generated sentences, by the validation split."""
        return self._scores("eval", self.suite, self.corpus.validation, rows)

    def collapse(self, rows: np.ndarray, *, last: bool) -> str:
        """Why the generated sentences have collapsed; empty if they have not. Repetition is judged
        at the last evaluation: a generator may repeat itself early in training.
        """
        return collapse(self.sampler().decode(rows), self.real_bigrams if last else None)

    def last(self, rows: np.ndarray) -> Values:
        """The expensive ones, which only the last evaluation of a run has."""
        return self._expensive("eval", self.suite, rows)

    def test(self) -> Values:
        """Scores `test/...` of other sentences, by the split that nothing was chosen by."""
        split, rows = self.corpus.test, self.drawn("test")
        suite = self._suite(split)
        return self._scores("test", suite, split, rows) | self._expensive("test", suite, rows)

    def signatures(self, *, test: bool) -> dict[str, str]:
        """Tags with the signature of the values `eval/...`, or `test/...`."""
        suite = self._suite(self.corpus.test) if test else self.suite
        corpus, level = self.corpus, self.corpus.vocabulary.level
        signature = suite.signature(
            (),
            n=str(self.config.evaluation.sentences),
            train=f"{len(corpus.train)}:{corpus.fingerprint[:8]}",
            tok="characters" if level == "character" else "words",
            **({"level": "subword"} if level == "subword" else {}),
            **({} if self.distribution is None else {FRESH: "oracle"}),
        )
        return {TEST_SIGNATURE if test else SIGNATURE: str(signature)}

    def baselines(self, store_dir: Path, *, likelihood: bool) -> Values:
        """Scores of texts that no run has generated: `real/...`, held-out text; `unigram/...`,
        `bigram/...`, `trigram/...` of the training text; with `likelihood` also `likelihood/...`, a
        language model trained on it. They are computed once for all runs on a corpus with the same
        settings of evaluation, and kept in the store's folder.
        """
        if (few := self.few_real_sentences()) is not None:
            _note(few)
        values = self._kept(store_dir, "scores", lambda: self._of_real_text() | self._of_floors())
        if likelihood:
            training = self.corpus.train.sentences(MOST)
            name = f"{LIKELIHOOD}_{fingerprint(training)}"
            values |= self._kept(store_dir, name, lambda: self._of_likelihood(training, store_dir))
        return values

    def few_real_sentences(self) -> str | None:
        """A warning if `real/...` has fewer sentences than the samples: the test split is small."""
        count, groups = self.config.evaluation.sentences, [*IN_RUNS]
        if self.distribution is None:
            groups.append("jsd_bound")  # else of fresh sentences, as many as the samples
        return of_unequal_counts(count, min(len(self.corpus.test), count), groups)

    def _kept(self, store_dir: Path, name: str, compute: Callable[[], Values]) -> Values:
        """What `compute` gives. The signature has the definitions of all metrics, the references,
        the encoder: where any of them is another, the scores are computed again.
        """
        config = self.config
        settings = [
            BASELINES, self.corpus.fingerprint, config.corpus.model_dump(mode="json"),
            config.model.length, config.evaluation.sentences, config.evaluation.references,
            sorted(METRICS), self.signatures(test=False),
        ]  # fmt: skip
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:24]
        file = store_dir / "baselines" / f"{name}_{key}.json"
        if file.exists():
            kept: Values = json.loads(file.read_text(encoding="utf-8"))
            return kept
        values = compute()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(values))
        return values

    def _of_real_text(self) -> Values:
        count = self.config.evaluation.sentences
        text = self.corpus.test.sentences(count)
        values = self.suite.evaluate(text)
        values["jsd"] = None if self.distribution is None else 0.0
        if self.distribution is not None:
            text = self.distribution.sample(count, derive(0, "real text"))
        values["jsd_bound"] = bound(self.suite, text, self.references("floors", 0)).value
        return {f"real/{name}": value for name, value in values.items()}

    def _of_floors(self) -> Values:
        """Scores of the n-gram models."""
        training, count = self.corpus.train.sentences(MOST), self.config.evaluation.sentences
        length = self.config.model.length if self.corpus.train.fixed_length else None
        references = self.references("floors", 0)
        found: Values = {}
        for name in FLOORS:
            floor = Floor(name, training)
            text = floor.sample(count, length)
            found |= self._ranked(name, text)
            if self.distribution is not None and length is None:
                ratios = (self.distribution.log_prob(t) + floor.nll(t) for t in (text, references))
                found[f"{name}/jsd"] = jsd(*ratios).value
        return found

    def _of_likelihood(self, training: Text, store_dir: Path) -> Values:
        """Scores of the system `mle_tuned`; none if the training text is too small."""
        mle = mle_baseline(training, self.config.evaluation.sentences, store_dir)
        return {} if mle is None else self._ranked(LIKELIHOOD, mle())

    def _ranked(self, name: str, text: Text) -> Values:
        """Scores of a text by all metrics that say what is better."""
        values = self.suite.evaluate(text)
        values["jsd_bound"] = bound(self.suite, text, self.references("floors", 0)).value
        ranked = [each for each in values if METRICS[each].direction != "near"]
        return {f"{name}/{each}": values[each] for each in ranked}

    def _scores(self, prefix: str, suite: Suite, split: Split, drawn: np.ndarray) -> Values:
        """Metrics of generated sentences, and of the sampler itself on the references."""
        sampler = self.sampler()
        some = np.array(spaced(len(split), len(suite.references)))  # the references
        rows = split.rows(some, self.config.model.length)
        values = suite.evaluate(sampler.decode(drawn))
        values["nll_gen"] = nll_gen(sampler.generator, sampler.spec, rows).value
        return {f"{prefix}/{name}": value for name, value in values.items()}

    def _expensive(self, prefix: str, suite: Suite, drawn: np.ndarray) -> Values:
        """Metrics of the last evaluation alone, against fresh references, if there are any."""
        sampler, references = self.sampler(), self.references(prefix, self.config.seed)
        found = {
            "jsd_bound": bound(suite, sampler.decode(drawn), references),
            "jsd": generator_jsd(
                sampler.generator, sampler.spec, drawn, self.corpus.vocabulary,
                self.distribution, references,
            )
        }  # fmt: skip
        self.reasons = {name: each.reason for name, each in found.items() if each.value is None}
        return {f"{prefix}/{name}": each.value for name, each in found.items()}

    def diagnoses(self, gradients: int) -> Values:
        """`diagnosis/...` of both players, on held-out text, with so many gradients of G."""
        state, train = self.state, self.config.train
        split = self.corpus.validation
        count = min(train.micro_batch or train.batch_size, len(split))
        rows = split.rows(np.array(spaced(len(split), count)), self.config.model.length)
        real = torch.from_numpy(rows).to(state.device)
        stream = f"diagnosis {state.counters.update}"
        spec = state.sampling_spec()
        return diagnose(self.config, state.players, real, spec, stream, gradients)
