"""The MLE baseline of an evaluation: a small language model of the harness, of the training text.

The system `mle` for UPDATES updates of 64 sentences, seed 0, one thread: a fixed, stated budget,
enough to be a baseline and not the best that likelihood can do. What it wrote is kept below the
store's folder under the fingerprint of the training text and of the settings, so that it is trained
once; the first time it trains in a process of its own beside the other metrics.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from core.text.seen import hash_of

UPDATES = 400
LONGEST = 63  # words; longer training sentences are left out
FEWEST = 200  # training sentences
SPARED = 0.05  # of the sentences, for validation and as many for test
SEED = 0
Text = list[list[str]]


class MleBaseline:
    """Sentences of the baseline, trained in the background unless they are kept already."""

    def __init__(self, training: Sequence[Sequence[str]], count: int, world: Path) -> None:
        self._count = count
        text = "\n".join(" ".join(sentence) for sentence in training)
        self._folder = world / "baselines" / _fingerprint(text)
        self._training: subprocess.Popen[str] | None = None
        self.possible = len(training) >= FEWEST
        if self.possible and not (self._folder / "generator.safetensors").exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "train.txt").write_text(text + "\n", encoding="utf-8")
            command = [
                sys.executable,
                "-m",
                "experiments.baselines",
                str(self._folder),
                str(UPDATES),
            ]
            self._training = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            atexit.register(self._training.kill)  # nobody waits for it after an interrupt

    def __call__(self) -> Text:
        """As many sentences as the samples have; waits for the training. InputError when the text
        cannot be trained on.
        """
        from experiments.generate import load_generator

        if self._training is not None:
            _, said = self._training.communicate()
            if self._training.returncode:
                raise InputError((said.strip().splitlines() or ["no message"])[-1])
        return load_generator(self._folder).tokens(self._count, 1.0, SEED, "baseline")


def mle_baseline(training: Sequence[Sequence[str]], count: int, world: Path) -> MleBaseline | None:
    """The baseline of a training text, in training from now on unless it is kept already; None,
    and a note, where the text is too small for one.
    """
    from experiments.console import err

    if not training:
        return None
    made = MleBaseline(training, count, world)
    if not made.possible:
        err.print(f"note: no mle row: {len(training):,} training sentences, {FEWEST} would do")
        return None
    return made


def train(folder: Path, updates: int) -> None:
    """Train on `train.txt` of a folder and leave the generator there."""
    from core.tracking.null import MemoryTracker
    from experiments.loading import load
    from experiments.runner import run

    file = folder / "train.txt"
    overrides = _overrides(file.read_text(encoding="utf-8"), file, updates)
    with tempfile.TemporaryDirectory() as temporary:
        tracker = MemoryTracker(Path(temporary))
        result = run(load("mle", overrides), tracker=tracker)
        made = tracker.model(result.run_id)
        for name in ("config.json", "entry.json", "vocabulary.txt", "generator.safetensors"):
            shutil.copyfile(made / name, folder / f"{name}.writing")
            (folder / f"{name}.writing").replace(
                folder / name
            )  # the weights last: then it is whole


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
        f"evaluation.every={updates}",
        "evaluation.sentences=2",
        "evaluation.references=2",
        f"seed={SEED}",
    ]


def _shares(sentences: Text) -> tuple[float, float]:
    """Places of the hash below which SPARED of the sentences lie, and twice as many. The text is
    often what an earlier split by the same hash left for training, and then has none below its
    shares.
    """
    places = sorted({hash_of(sentence) / 2**64 for sentence in sentences if sentence})
    spared = max(int(SPARED * len(places)), 1)
    if len(places) < 3 * spared:
        return SPARED, 2 * SPARED
    return (
        (places[spared - 1] + places[spared]) / 2,
        (places[2 * spared - 1] + places[2 * spared]) / 2,
    )


def _fingerprint(text: str) -> str:
    from experiments.loading import resolve_file

    settings = resolve_file("mle").read_text(encoding="utf-8") + f"{UPDATES} {SPARED}"
    return hashlib.sha256((settings + "\0" + text).encode()).hexdigest()[:24]


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
