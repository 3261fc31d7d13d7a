"""Train the likelihood baseline in a process of its own (see `experiments/baselines.py`).

    python -m experiments.mle_training FOLDER UPDATES COUNT

The folder has `train.txt`; the generator, what is to be said of it, and COUNT sentences are written
there.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock

from core.errors import InputError
from core.files import write_atomically
from core.metrics.ngrams import Text
from core.text.corpus import spaced
from core.text.hashing import hash_of
from core.tracking.memory import MemoryTracker
from core.training.nll_gen import nll_gen
from experiments.baselines import MODEL, sentences_of
from experiments.generate import load_generator, save_generator
from experiments.loading import load, open_corpus
from experiments.single_run.checkpoints import BEST, sampler_of
from experiments.single_run.run import run

LONGEST = 63  # words; longer training sentences are left out
HELD_OUT = 0.05  # of the sentences, for validation and again for test
SCORED = 500  # sentences of each held-out split, at most
METRIC, PATIENCE, EVERY = "eval/nll_gen", 2, 100  # of early stopping; updates
SEED = 0


def write(folder: Path, updates: int, count: int) -> None:
    """Write `count` sentences of the baseline to its folder; train it if needed. Processes that
    would do the same at the same time wait for the first one.
    """
    file = sentences_of(folder, count)
    with FileLock(folder / "lock"):
        if file.exists():
            return
        if not all((folder / name).exists() for name in MODEL):
            train(folder, updates)
        drawn = load_generator(folder).tokens(count, 1.0, SEED, "baseline")
        lines = "".join(" ".join(sentence) + "\n" for sentence in drawn)
        write_atomically(file, lines)


def train(folder: Path, updates: int) -> None:
    """Train on `train.txt` of a folder; write the generator and its perplexity there."""
    file = folder / "train.txt"
    config = load("mle_tuned", _overrides(file.read_text(encoding="utf-8"), file, updates))
    with tempfile.TemporaryDirectory() as temporary:
        tracker = MemoryTracker(Path(temporary))
        result = run(config, tracker=tracker)
        curve = [(nll, step) for step, nll in tracker.history(result.run_id, METRIC) if step]
        if not curve:
            raise InputError(f"its training failed ({result.outcome})")
        sampler = sampler_of(tracker, result.run_id, BEST)
        corpus = open_corpus(config.corpus, tracker.store_dir, config.model.length)
        some = np.array(spaced(len(corpus.test), SCORED))
        rows = corpus.test.rows(some, config.model.length)
        nll = nll_gen(sampler.generator, sampler.spec, rows).value
        about = {
            "updates": min(curve)[1],
            "budget": updates,
            "nll_gen": nll,
            "perplexity": math.exp(nll) if nll is not None else None,
        }
        made = Path(temporary) / "made"
        save_generator(made, config, sampler.generator, sampler.vocabulary)
        (made / "about.json").write_text(json.dumps(about), encoding="utf-8")
        for name in MODEL:  # the weights last: they mark it complete
            write_atomically(folder / name, (made / name).read_bytes())


def _overrides(text: str, file: Path, updates: int) -> list[str]:
    sentences = [line.split() for line in text.splitlines()]
    longest = max(len(sentence) for sentence in sentences)
    test, both = _shares(sentences)
    return [
        f"corpus.test={test}",
        f"corpus.validation={both - test}",
        f"corpus.source={json.dumps(str(file))}",
        'corpus.reader="lines"',
        'corpus.cleaning="none"',
        "corpus.min_words=1",
        "corpus.min_kept=0.0",
        'corpus.duplicates="keep"',
        f"model.length={max(min(longest, LONGEST) + 1, 2)}",
        f"train.updates={updates}",
        f"evaluation.every={min(EVERY, updates // 2)}",
        f"train.stop={{ metric = '{METRIC}', patience = {PATIENCE} }}",
        "evaluation.gradients=0",
        "evaluation.sentences=2",
        f"evaluation.references={SCORED}",
        f"seed={SEED}",
    ]


def _shares(sentences: Text) -> tuple[float, float]:
    """The hash quantiles HELD_OUT and 2 * HELD_OUT of the sentences. They are not these numbers
    themselves, because the text is often the training part of an earlier split by the same hash.
    """
    places = sorted({hash_of(sentence) / 2**64 for sentence in sentences if sentence})
    spared = max(int(HELD_OUT * len(places)), 1)
    if len(places) < 3 * spared:
        return HELD_OUT, 2 * HELD_OUT
    return (
        (places[spared - 1] + places[spared]) / 2,
        (places[2 * spared - 1] + places[2 * spared]) / 2,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
