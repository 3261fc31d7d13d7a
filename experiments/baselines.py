"""The MLE baseline of an evaluation: the system `mle`, trained on the training text.

The budget is fixed: at most UPDATES updates of 64 sentences with settings TUNED for so few, seed 0,
one thread. It is a baseline, not the best that maximum likelihood can do. The validation split is
scored CHECKS times; the best generator is kept, and training stops after PATIENCE checks without
improvement, so that a small text is not memorised. Its perplexity on a test split is reported. It
trains and samples in a process of its own while the metrics are computed. The generator and its
sentences are kept in the store's folder, under a fingerprint of text and settings, so that it is
trained once.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from core import process
from core.errors import InputError
from core.files import write_atomically
from core.plural import count
from core.text.hashing import hash_of

UPDATES = 400
LONGEST = 63  # words; longer training sentences are left out
FEWEST = 200  # training sentences that are enough
HELD_OUT = 0.05  # of the sentences, for validation and again for test
SCORED = 500  # sentences of each held-out split, at most
CHECKS = 5  # of the validation split
PATIENCE = 2  # checks without improvement that stop the training
SEED = 0
# A short run gains from a high rate and averaged weights: perplexity of captions 47.5, not 54.1.
TUNED = ("train.generator_lr=4e-3", "train.ema=0.98")
MODEL = ("config.json", "entry.json", "vocabulary.txt", "about.json", "generator.safetensors")
Text = list[list[str]]


class MleBaseline:
    """Sentences of the baseline, generated in the background unless they are kept already."""

    def __init__(self, training: Sequence[Sequence[str]], count: int, store_dir: Path) -> None:
        text = "\n".join(" ".join(sentence) for sentence in training)
        self._folder = store_dir / "baselines" / _fingerprint(text)
        self._file = sentences_of(self._folder, count)
        self._process: subprocess.Popen[str] | None = None
        if not self._file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "train.txt").write_text(text + "\n", encoding="utf-8")
            command = process.command(
                "experiments.baselines", str(self._folder), str(UPDATES), str(count)
            )
            # One thread: the metrics use the other cores.
            one_thread = {**process.environment(), "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command, stderr=subprocess.PIPE, text=True, env=one_thread
            )
            atexit.register(self._process.kill)  # after an interrupt

    def __call__(self) -> Text:
        """Wait for the sentences and return them. InputError if the training failed."""
        if self._process is not None:
            _, errors = self._process.communicate()
            if self._process.returncode:
                raise InputError((errors.strip().splitlines() or ["no message"])[-1])
        written = self._file.read_text(encoding="utf-8").split("\n")[:-1]
        return [line.split() for line in written]

    def about(self) -> str:
        """The budget and the result of the training."""
        found = json.loads((self._folder / "about.json").read_text(encoding="utf-8"))
        perplexity = found["perplexity"]
        return (
            f"the system mle after {count(found['updates'], 'update')} (the best of at most "
            f"{found['budget']:,}) on the training text: perplexity "
            f"{'unknown' if perplexity is None else f'{perplexity:.1f}'} per token on held-out "
            f"sentences of it"
        )


def mle_baseline(
    training: Sequence[Sequence[str]], count: int, store_dir: Path
) -> MleBaseline | None:
    """The baseline of a training text, whose training starts unless it is kept already. None if
    the text is too small, with a note.
    """
    from experiments.console import stderr

    if not training:
        return None
    if len(training) < FEWEST:
        stderr.print(f"note: no mle row: {len(training):,} training sentences, needs {FEWEST}")
        return None
    return MleBaseline(training, count, store_dir)


def sentences_of(folder: Path, count: int) -> Path:
    """The file with `count` sentences of the baseline, one per line."""
    return folder / f"sentences_{count}.txt"


def write(folder: Path, updates: int, count: int) -> None:
    """Write `count` sentences of the baseline to its folder; train it if needed."""
    from experiments.generate import load_generator

    if not all((folder / name).exists() for name in MODEL):
        train(folder, updates)
    drawn = load_generator(folder).tokens(count, 1.0, SEED, "baseline")
    file = sentences_of(folder, count)
    lines = "".join(" ".join(sentence) + "\n" for sentence in drawn)
    write_atomically(file, lines)


def train(folder: Path, updates: int) -> None:
    """Train on `train.txt` of a folder; write the generator and its perplexity there."""
    import numpy as np

    from core.tracking.memory import MemoryTracker
    from core.training.nll_gen import nll_gen
    from experiments.generate import save_generator
    from experiments.loading import load, open_corpus
    from experiments.single_run.checkpoints import BEST, sampler_of
    from experiments.single_run.run import run

    file, validation = folder / "train.txt", _Validation()
    config = load("mle", _overrides(file.read_text(encoding="utf-8"), file, updates))
    with tempfile.TemporaryDirectory() as temporary:
        tracker = MemoryTracker(Path(temporary))
        result = run(config, tracker=tracker, report=validation)
        if validation.best is None:
            raise InputError(f"its training failed ({result.outcome})")
        sampler = sampler_of(tracker, result.run_id, BEST)
        corpus = open_corpus(config.corpus, tracker.store_dir, config.model.length)
        rows = corpus.test.rows(np.arange(min(len(corpus.test), SCORED)), config.model.length)
        nll = nll_gen(sampler.generator, sampler.drawing, rows).value
        about = {
            "updates": validation.best[1],
            "budget": updates,
            "nll_gen": nll,
            "perplexity": math.exp(nll) if nll is not None else None,
        }
        made = Path(temporary) / "made"
        save_generator(made, config, sampler.generator, sampler.vocabulary)
        (made / "about.json").write_text(json.dumps(about), encoding="utf-8")
        for name in MODEL:  # the weights last: they mark it complete
            write_atomically(folder / name, (made / name).read_bytes())


class _Validation:
    """The scores on the validation split; stops a training that does not improve."""

    def __init__(self) -> None:
        self.best: tuple[float, int] | None = None  # token NLL, update
        self._since = 0

    def __call__(self, step: int, _: int | None, values: Mapping[str, float | None]) -> None:
        from core.training.loop import Stopped

        nll = values.get("eval/nll_gen")
        if nll is None or step == 0:
            return
        if self.best is None or nll < self.best[0]:
            self.best, self._since = (nll, step), 0
            return
        self._since += 1
        if self._since == PATIENCE:
            raise Stopped(f"no improvement on the validation split since update {self.best[1]}")


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
        f"evaluation.every={max(updates // CHECKS, 1)}",
        'evaluation.keep_best="eval/nll_gen"',
        "evaluation.gradients=0",
        "evaluation.sentences=2",
        f"evaluation.references={SCORED}",
        f"seed={SEED}",
        *TUNED,
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


def _fingerprint(text: str) -> str:
    from experiments.loading import resolve_file

    settings = (
        resolve_file("mle").read_text(encoding="utf-8")
        + f"{UPDATES} {CHECKS} {PATIENCE} {HELD_OUT} {SCORED} {TUNED}"
    )
    return hashlib.sha256((settings + "\0" + text).encode()).hexdigest()[:24]


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
