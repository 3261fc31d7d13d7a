"""How much signal G's gradient has at the sizes of real text, and how it compares over estimators.

    python -m benchmarks.signal [--seconds 60] [--gradients 64] [--words 100,1000,6000]
                                [--lengths 6,12,20]

For each number of words and length, `all_words` (LSTMs of 64) is trained on captions for so many
CPU seconds; rarer words are one word, longer sentences are cut. Then nothing is trained, and every
estimator takes gradients of G against the same D, without dropout, each from a fresh batch of 64
sentences. The reward of a step is D's log-odds; `reinforce` and `leave_one_out` have the mean over
a sentence's steps. One JSON document for each cell:

    updates, nats              updates in that time; entropy of G's next word
    d_training, d_held_out     accuracy of D's steps on sentences it has learned and on others
    signal_to_noise            length of the mean gradient over the noise of one, by estimator
    cosine                     of the mean gradient with the reference, that of the sum of all step
                               rewards: `all_words` with gamma 1, four times as many batches. Both
                               lengths are corrected for noise, so it can be above 1
    milliseconds               CPU time of one gradient

`pathwise` has tokens relaxed by Gumbel noise (straight through), so that D passes a gradient on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.captions import captions
from benchmarks.sizes import CPU
from core.config import parse
from core.interfaces import SamplingSpec
from core.seeding import generator as stream
from core.text.vocabulary import Vocabulary
from core.training.diagnostics import batch_gradients, diagnose, signal_and_noise
from core.training.loop import Trainer
from core.training.players import as_module, build, evaluation_mode, frozen_parameters
from core.training.state import TrainingState
from core.types import END, PAD
from experiments import load
from variants import registry

BATCH = 64
ALL, DENSE = "all_words", "dense_reinforce"
OTHERS = {"baseline": "leave_one_out"}
REFERENCE = "all_words, gamma 1"
ESTIMATORS: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "reinforce": ("reinforce", {}, "categorical"),
    "leave_one_out": ("leave_one_out", {}, "categorical"),
    "dense_reinforce, gamma 1": (DENSE, {"gamma": 1.0} | OTHERS, "categorical"),
    "dense_reinforce, gamma .23": (DENSE, {"gamma": 0.23} | OTHERS, "categorical"),
    "dense_reinforce, gamma 0": (DENSE, {"gamma": 0.0} | OTHERS, "categorical"),
    REFERENCE: (ALL, {"gamma": 1.0}, "categorical"),
    "all_words, gamma .23": (ALL, {"gamma": 0.23}, "categorical"),
    "all_words, gamma 0": (ALL, {"gamma": 0.0}, "categorical"),
    "pathwise": ("pathwise", {}, "straight_through_gumbel"),
}


@dataclass(frozen=True)
class Sentences:
    """Batches of one text's tokens (M, S)."""

    tokens: Tensor
    per_epoch: int = 1

    @property
    def sentences(self) -> int:
        """M."""
        return len(self.tokens)

    def batch(self, number: int) -> Tensor:
        """Batch `number`, int64 (N, S), drawn with replacement."""
        rows = torch.randint(len(self.tokens), (BATCH,), generator=stream(number, "rows", CPU))
        return self.tokens[rows]


def texts(words: int, length: int) -> tuple[Tensor, Tensor, int]:
    """Training and held-out captions (M, S) of so many words and tokens, and V."""
    read = [captions(name, 10_000)[0] for name in ("coco_train.txt", "coco_test.txt")]
    vocabulary = Vocabulary.from_counts(Counter(w for line in read[0] for w in line), words)
    train, held_out = (_tokens(text, vocabulary, length) for text in read)
    return train, held_out, len(vocabulary)


def _tokens(text: list[list[str]], vocabulary: Vocabulary, length: int) -> Tensor:
    found = torch.full((len(text), length), PAD)
    for row, line in zip(found, text, strict=True):
        ids = torch.from_numpy(vocabulary.encode(line[: length - 1]))
        row[: len(ids)] = ids
        row[len(ids)] = END
    return found


def cell(words: int, length: int, seconds: float, count: int) -> dict[str, Any]:
    """One document."""
    train, held_out, size = texts(words, length)
    tables = load(ALL).tables()
    tables["model"]["length"] = length
    for player in ("generator", "discriminator"):
        tables[player] |= {"width": 64, "hidden": 64}
    tables["train"] |= {"updates": None, "minutes": seconds / 60, "clock": "cpu"}
    config = parse(tables, registry(), "benchmark")
    players = build(config, registry(), size, CPU)
    state = TrainingState(config, players, Sentences(train), CPU)  # type: ignore[arg-type]
    Trainer(state, lambda values, step: None).train(lambda: None, lambda: None)
    spec = state.sampling_spec()
    seen, new = (
        diagnose(config, players, text[:1000], spec, "signal", 0) for text in (train, held_out)
    )
    found: dict[str, Any] = {
        "words": words, "length": length, "updates": state.counters.update,
        "nats": new["diagnosis/next_word_entropy"],
        "d_training": seen["diagnosis/d_accuracy"], "d_held_out": new["diagnosis/d_accuracy"],
        "signal_to_noise": {}, "cosine": {}, "milliseconds": {},
    }  # fmt: skip
    reference = _gradients(state, spec, REFERENCE, held_out, 4 * count)
    towards = reference.mean(0) / signal_and_noise(reference)[0]
    for name in ESTIMATORS:
        start = time.process_time()
        taken = _gradients(state, spec, name, held_out, count)
        spent = (time.process_time() - start) / count
        signal, noise = signal_and_noise(taken)
        cosine = float(taken.mean(0) @ towards) / signal if signal else None
        found["signal_to_noise"][name] = round(signal / noise, 3)
        found["cosine"][name] = None if cosine is None else round(cosine, 2)
        found["milliseconds"][name] = round(1e3 * spent, 1)
    return found


def _gradients(
    state: TrainingState, spec: SamplingSpec, name: str, real: Tensor, count: int
) -> Tensor:
    """Gradients (K, P) of one estimator, in double precision."""
    estimator, settings, drawn = ESTIMATORS[name]
    found, sampling = (
        registry().strategy(slot, each)
        for slot, each in (("estimator", estimator), ("sampling", drawn))
    )
    own = replace(state.adversary, estimator=found(found.Config(name=estimator, **settings)))
    spec = replace(spec, sampling=sampling(sampling.Config(name=drawn)))
    D, rng = as_module(own.discriminator), stream(0, f"signal {name}", CPU)
    with evaluation_mode(D), frozen_parameters(D):
        taken = batch_gradients(count, own, state.players.generator, spec, real[:BATCH], rng)
        return torch.stack(list(taken)).double()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--gradients", type=int, default=64)
    parser.add_argument("--words", default="100,1000,6000")
    parser.add_argument("--lengths", default="6,12,20")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for words in map(int, given.words.split(",")):
        for length in map(int, given.lengths.split(",")):
            print(json.dumps(cell(words, length, given.seconds, given.gradients)), flush=True)
