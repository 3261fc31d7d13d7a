"""How held-out likelihood depends on the settings of `mle`: the search behind `mle_tuned`.

    python -m benchmarks.tuned_likelihood easy|default|FILE [--system NAME] [--seed N] [KEY=VALUE]

Trains a system by maximum likelihood on the grammar of that difficulty, or on a file of one
sentence a line. Every EVERY updates the token NLL of up to SCORED validation sentences is taken
with each of the AVERAGES of the weights, and training stops when none of them has improved in
PATIENCE checks. Prints one JSON document: for each average the best update, the CPU seconds of
training until then, and the NLL in nats per token; and the whole curve.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from core.training.loop import train_phase
from core.training.nll_gen import nll_gen
from core.training.players import as_module, sampling_spec
from core.types import Phase
from experiments.loading import load, open_corpus
from experiments.single_run.run import set_up_process
from experiments.single_run.session import training_state
from variants import registry

EVERY = 100  # updates
SCORED = 1000  # validation sentences, at most
AVERAGES = 0.98, 0.99, 0.995  # decays of the exponential moving average
PATIENCE = 3  # checks without improvement that stop the training
Point = tuple[int, float, dict[float, float]]  # update, CPU seconds of training, NLL by average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("--system", default="mle")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("settings", nargs="*")
    given = parser.parse_intermixed_args()
    source = (f'corpus.difficulty="{given.corpus}"',)
    if given.corpus not in ("easy", "default", "hard"):
        source = (f"corpus.source={json.dumps(given.corpus)}",)
    overrides = [*source, f"seed={given.seed}", "train.ema=0", *given.settings]
    points, vocabulary = curve(given.system, overrides)
    best = {a: min(points, key=lambda p: p[2][a]) for a in AVERAGES}
    print(json.dumps({
        "corpus": Path(given.corpus).stem, "system": given.system, "seed": given.seed,
        "settings": given.settings, "vocabulary": vocabulary,
        "seconds_per_update": points[-1][1] / points[-1][0],
        "best": {a: (p[0], round(p[1], 1), round(p[2][a], 4)) for a, p in best.items()},
        "curve": [(update, round(seconds, 1), *(round(nll, 4) for nll in found.values()))
                  for update, seconds, found in points],
    }))  # fmt: skip


def curve(system: str, overrides: list[str]) -> tuple[list[Point], int]:
    """The points of one training, and the size of the vocabulary."""
    config = load(system, overrides)
    device = set_up_process(config)
    with tempfile.TemporaryDirectory() as store:
        corpus = open_corpus(config.corpus, Path(store), config.model.length)
        state = training_state(config, corpus, device)
        split = corpus.validation
        rows = split.rows(np.arange(min(len(split), SCORED)), config.model.length)
        spec = sampling_spec(config, registry(), 1.0)
        G = state.players.generator
        averages = {decay: deepcopy(G) for decay in AVERAGES}
        points: list[Point] = []
        seconds, best, since = 0.0, float("inf"), 0
        while not state.budget_spent() and since < PATIENCE:
            start, n = time.process_time(), state.counters.update
            train_phase(state, Phase("generator", "likelihood"))
            seconds += time.process_time() - start
            for decay, average in averages.items():
                weights = as_module(average).parameters(), as_module(G).parameters()
                with torch.no_grad():
                    for mean, weight in zip(*weights, strict=True):
                        mean.lerp_(weight, 1 - min(decay, (1 + n) / (10 + n)))
            state.counters.update += 1
            if state.counters.update % EVERY == 0:
                found = {
                    decay: nll_gen(average, spec, rows).value or float("nan")
                    for decay, average in averages.items()
                }
                points.append((state.counters.update, seconds, found))
                since = 0 if min(found.values()) < best else since + 1
                best = min(best, *found.values())
        return points, len(corpus.vocabulary)


if __name__ == "__main__":
    main()
