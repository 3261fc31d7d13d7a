"""The likelihood baseline of an evaluation: the system `mle_tuned`, trained on the training text.

One seed, one thread, about a minute: as many updates as `updates_for` says. Training stops when the
validation split has not improved for some checks, the best generator is kept, and its perplexity on
a test split is reported. It trains and samples in a process of its own while the metrics are
computed. The generator and its sentences are kept in the store's folder, under a fingerprint of the
text and of what trains it, so that it is trained once: of several processes at the same time one
trains it, and the others wait.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import subprocess
from pathlib import Path

from core import process
from core.errors import InputError
from core.files import write_atomically
from core.metrics.ngrams import Text
from core.plural import count

FEWEST = 200  # training sentences that are enough
UPDATES = 1500  # at most: more than the validation optimum of the grammar needs
LEAST = 400  # updates, whatever they cost
ROOM = 6.5e7  # (words of a sentence) x (vocabulary + BODY) x updates that cost about 40 seconds
BODY = 1600  # words of a head that costs as much as the rest of the model
MODEL = ("config.json", "entry.json", "vocabulary.txt", "about.json", "generator.safetensors")


class MleBaseline:
    """Sentences of the baseline, generated in the background unless they are kept already."""

    def __init__(self, training: Text, count: int, store_dir: Path) -> None:
        self._folder = store_dir / "baselines" / fingerprint(training)
        self._file = sentences_of(self._folder, count)
        self._process: subprocess.Popen[str] | None = None
        if not self._file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            # Another process may be reading it.
            write_atomically(self._folder / "train.txt", _lines(training) + "\n")
            updates = str(updates_for(training))
            command = process.command(
                "experiments.mle_training", str(self._folder), updates, str(count)
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

    def stop(self) -> None:
        """End the process that trains or samples, if there is one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def about(self) -> str:
        """The budget and the result of the training."""
        found = json.loads((self._folder / "about.json").read_text(encoding="utf-8"))
        perplexity = found["perplexity"]
        return (
            f"the system mle_tuned after {count(found['updates'], 'update')} (the best of at most "
            f"{found['budget']:,}) on the training text: perplexity "
            f"{'unknown' if perplexity is None else f'{perplexity:.1f}'} per token on held-out "
            f"sentences of it"
        )


def mle_baseline(training: Text, count: int, store_dir: Path) -> MleBaseline | None:
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


def updates_for(training: Text) -> int:
    """Updates of the baseline: as many as cost about a minute, LEAST to UPDATES. An update costs
    roughly in proportion to (tokens of a batch) x (vocabulary + BODY).
    """
    tokens = sum(len(sentence) + 1 for sentence in training) / len(training)
    words = {word for sentence in training for word in sentence}
    return min(UPDATES, max(LEAST, int(ROOM / (tokens * (len(words) + BODY)))))


def fingerprint(training: Text) -> str:
    """24 digits of the training text, the number of updates, and the system and the code that train
    the baseline.
    """
    from experiments.loading import resolve_file

    code = Path(__file__).with_name("mle_training.py")
    made_by = [file.read_text(encoding="utf-8") for file in (resolve_file("mle_tuned"), code)]
    whole = "\0".join([*made_by, str(updates_for(training)), _lines(training)])
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


def _lines(sentences: Text) -> str:
    return "\n".join(" ".join(sentence) for sentence in sentences)
