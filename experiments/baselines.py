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
import subprocess
from collections.abc import Sequence
from pathlib import Path

from core import process
from core.errors import InputError
from core.plural import count

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
                "experiments.mle_training", str(self._folder), str(UPDATES), str(count)
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


def _fingerprint(text: str) -> str:
    from experiments.loading import resolve_file

    settings = (
        resolve_file("mle").read_text(encoding="utf-8")
        + f"{UPDATES} {CHECKS} {PATIENCE} {HELD_OUT} {SCORED} {TUNED}"
    )
    return hashlib.sha256((settings + "\0" + text).encode()).hexdigest()[:24]
