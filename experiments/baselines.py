"""The MLE baseline of an evaluation: a small language model of the harness, of the training text.

The system `mle` for UPDATES updates of 64 sentences at most, TUNED for so few, seed 0, one thread:
a fixed, stated budget, enough to be a baseline and not the best that likelihood can do. LOOKS times
a validation split is looked at; the best generator by it is taken, and training ends when it has
been no better twice, so that a small text is not learnt by heart. The perplexity on a test split,
that neither trained nor chose it, is said beside its row. It trains and writes in a process of its
own beside the other metrics. The generator and what it wrote are kept below the store's folder
under the fingerprint of the training text and of the settings, so that it is trained once.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from core import process
from core.errors import InputError
from core.text.hashing import hash_of

UPDATES = 400
LONGEST = 63  # words; longer training sentences are left out
FEWEST = 200  # training sentences
SPARED = 0.05  # of the sentences, for validation and as many for test
SCORED = 500  # sentences of the validation split, at most, and of the test split
LOOKS = 5  # at the validation split
PATIENCE = 2  # looks without gain that end the training
SEED = 0
# A short run gains from a high rate and averaged weights: perplexity of captions 47.5, not 54.1.
TUNED = ("train.generator_lr=4e-3", "train.ema=0.98")
MODEL = ("config.json", "entry.json", "vocabulary.txt", "about.json", "generator.safetensors")
Text = list[list[str]]


class MleBaseline:
    """Sentences of the baseline, written in the background unless they are kept already."""

    def __init__(self, training: Sequence[Sequence[str]], count: int, store_dir: Path) -> None:
        text = "\n".join(" ".join(sentence) for sentence in training)
        self._folder = store_dir / "baselines" / _fingerprint(text)
        self._file = sentences_of(self._folder, count)
        self._writing: subprocess.Popen[str] | None = None
        self.possible = len(training) >= FEWEST
        if self.possible and not self._file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "train.txt").write_text(text + "\n", encoding="utf-8")
            command = process.command(
                "experiments.baselines", str(self._folder), str(UPDATES), str(count)
            )
            # One thread: the other cores are the metrics'.
            alone = {**process.environment(), "OMP_NUM_THREADS": "1"}
            self._writing = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=alone)
            atexit.register(self._writing.kill)  # nobody waits for it after an interrupt

    def __call__(self) -> Text:
        """As many sentences as the samples have; waits for them. InputError when the text cannot
        be trained on.
        """
        if self._writing is not None:
            _, said = self._writing.communicate()
            if self._writing.returncode:
                raise InputError((said.strip().splitlines() or ["no message"])[-1])
        written = self._file.read_text(encoding="utf-8").split("\n")[:-1]
        return [line.split() for line in written]

    def about(self) -> str:
        """The budget and what came of it."""
        found = json.loads((self._folder / "about.json").read_text(encoding="utf-8"))
        perplexity = found["perplexity"]
        return (
            f"the system mle after {found['updates']:,} updates (the best of at most "
            f"{found['budget']:,}) on the training text: perplexity "
            f"{'unknown' if perplexity is None else f'{perplexity:.1f}'} a token on sentences of "
            f"it that neither trained nor chose it"
        )


def mle_baseline(
    training: Sequence[Sequence[str]], count: int, store_dir: Path
) -> MleBaseline | None:
    """The baseline of a training text, in training from now on unless it is kept already; None,
    and a note, where the text is too small for one.
    """
    from experiments.console import stderr

    if not training:
        return None
    made = MleBaseline(training, count, store_dir)
    if not made.possible:
        stderr.print(f"note: no mle row: {len(training):,} training sentences, {FEWEST} would do")
        return None
    return made


def sentences_of(folder: Path, count: int) -> Path:
    """Where so many sentences of the baseline in a folder are kept, one a line."""
    return folder / f"sentences_{count}.txt"


def write(folder: Path, updates: int, count: int) -> None:
    """Leave `count` sentences of the baseline in its folder; train it unless it is there."""
    from experiments.generate import load_generator

    if not all((folder / name).exists() for name in MODEL):
        train(folder, updates)
    drawn = load_generator(folder).tokens(count, 1.0, SEED, "baseline")
    file = sentences_of(folder, count)
    lines = "".join(" ".join(sentence) + "\n" for sentence in drawn)
    _put(file, lines.encode("utf-8"))


def train(folder: Path, updates: int) -> None:
    """Train on `train.txt` of a folder and leave the generator there, and its perplexity."""
    import numpy as np

    from core.tracking.memory import MemoryTracker
    from core.training.nll_gen import nll_gen
    from experiments.generate import save_generator
    from experiments.single_run.checkpoints import BEST, writer_at
    from experiments.single_run.loading import load
    from experiments.single_run.run import open_corpus, run

    file, looked = folder / "train.txt", _Looks()
    config = load("mle", _overrides(file.read_text(encoding="utf-8"), file, updates))
    with tempfile.TemporaryDirectory() as temporary:
        tracker = MemoryTracker(Path(temporary))
        result = run(config, tracker=tracker, report=looked)
        if looked.best is None:
            raise InputError(f"its training came to nothing ({result.outcome})")
        writer = writer_at(tracker.store_dir, result.run_id, BEST)
        corpus = open_corpus(config.corpus, tracker.store_dir, config.model.length)
        rows = corpus.test.rows(np.arange(min(len(corpus.test), SCORED)), config.model.length)
        nats = nll_gen(writer.generator, writer.drawing, rows).value
        about = {
            "updates": looked.best[1],
            "budget": updates,
            "nll_gen": nats,
            "perplexity": math.exp(nats) if nats is not None else None,
        }
        made = Path(temporary) / "made"
        save_generator(made, config, writer.generator, writer.vocabulary)
        (made / "about.json").write_text(json.dumps(about), encoding="utf-8")
        for name in MODEL:  # the weights last: then it is whole
            _put(folder / name, (made / name).read_bytes())


class _Looks:
    """The looks at the validation split; ends a training that gains nothing any more."""

    def __init__(self) -> None:
        self.best: tuple[float, int] | None = None  # nats a token, update
        self._since = 0

    def __call__(self, step: int, _: int | None, values: Mapping[str, float | None]) -> None:
        from core.training.loop import Stopped

        nats = values.get("eval/nll_gen")
        if nats is None or step == 0:
            return
        if self.best is None or nats < self.best[0]:
            self.best, self._since = (nats, step), 0
            return
        self._since += 1
        if self._since == PATIENCE:
            raise Stopped(f"no gain on the validation split since update {self.best[1]}")


def _put(file: Path, content: bytes) -> None:
    """A file that is there whole or not at all."""
    writing = file.with_name(f"{file.name}.{os.getpid()}")  # two evaluations may write it
    writing.write_bytes(content)
    writing.replace(file)


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
        f"evaluation.every={max(updates // LOOKS, 1)}",
        'evaluation.keep_best="eval/nll_gen"',
        "evaluation.gradients=0",
        "evaluation.sentences=2",
        f"evaluation.references={SCORED}",
        f"seed={SEED}",
        *TUNED,
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
    from experiments.single_run.loading import resolve_file

    settings = (
        resolve_file("mle").read_text(encoding="utf-8")
        + f"{UPDATES} {LOOKS} {PATIENCE} {SPARED} {SCORED} {TUNED}"
    )
    return hashlib.sha256((settings + "\0" + text).encode()).hexdigest()[:24]


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
