"""A corpus of a billion words, built synthetic at full size: what it costs a process.

30 million sentences of 26 to 41 words out of 60,000 are written in the folder's format. Then, each
in processes of their own: it is opened and batches are drawn; a run trains on it, evaluation
included, alone and in two processes of `torchrun`. The bar is 1 GB of memory a process at its peak
(the kernel's own VmHWM); the process's own pages and those of files are said apart, as the largest
of either that was seen, looking ten times a second.

Needs 3 GB of disk below the temporary folder, for some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.text.build import fingerprint_of
from core.text.corpus import FORMAT, OFFSET, Manifest, SplitName
from core.text.settings import CorpusSettings
from core.text.vocabulary import SPECIALS, Vocabulary

SENTENCES = 30_000_000
TYPES = 60_000
RANKS = 2**20  # equally likely ones that words are drawn by
SHORTEST, LONGEST = 26, 41  # words
PIECE = 250_000  # sentences written together
SHARES: Mapping[SplitName, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
DRAWING_SECONDS, BATCH = 30.0, 64
BAR_MB = 1000
LOOKS = 0.1  # seconds
FIELDS = {"rss": "VmHWM", "own": "RssAnon", "files": "RssFile"}
ROOT = Path(__file__).parents[1]
RUN = [
    "model.length=48", "train.updates=5", "train.micro_batch=4", "evaluation.every=5",
    "evaluation.gradients=0", "generator.width=16", "generator.hidden=16", "discriminator.width=16",
    "discriminator.hidden=16", "sampling.name=detached",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--draw", type=Path, help="open this folder and draw, in this process")
    asked = parser.parse_args()
    if asked.draw is not None:
        print(json.dumps(drawn(asked.draw)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "corpus"
        began = time.perf_counter()
        words = write_corpus(folder, asked.sentences)
        seconds, size = time.perf_counter() - began, sum(f.stat().st_size for f in folder.iterdir())
        show("written", sentences=asked.sentences, words=words, seconds=seconds, mb=size / 1e6)
        watched("drawing", ["-m", "benchmarks.billion", "--draw", str(folder)], temporary)
        run = [
            "-m",
            "experiments",
            "run",
            str(ROOT / "experiments" / "smoke" / "run.toml"),
            "--json",
        ]
        run += [part for each in (f"corpus.source={folder}", *RUN) for part in ("--set", each)]
        watched("a run", run, temporary)
        two = ["-m", "torch.distributed.run", "--nproc-per-node", "2", *run]
        watched("a run in two processes", two, temporary)


def write_corpus(folder: Path, sentences: int) -> int:
    """A corpus folder of so many sentences, frequencies of words falling as 1/rank; its words."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    vocabulary = Vocabulary((*SPECIALS, *(f"w{number}" for number in range(TYPES))))
    vocabulary.save(folder / "vocabulary.txt")
    counts = {name: round(share * sentences) for name, share in SHARES.items()}
    words = sum(write_split(folder, name, count, rng) for name, count in counts.items())
    manifest = Manifest(
        format=FORMAT,
        source="synthetic",
        kind="lines",
        settings=CorpusSettings(source="synthetic"),
        max_words=LONGEST,
        source_sha256="",
        fingerprint=fingerprint_of(folder),
        read=sentences,
        kept=sentences,
        dropped={},
        splits=counts,
        words=words,
        vocabulary=len(vocabulary),
        longest=LONGEST,
        id_type="uint16",
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return words


def write_split(folder: Path, name: str, count: int, rng: np.random.Generator) -> int:
    """Ids and offsets of a split; its words."""
    # Log-uniform ranks: the chance of rank r falls as 1/r.
    ranks = np.exp(np.linspace(0, np.log(TYPES), RANKS, endpoint=False)).astype(np.uint16)
    words, end = ranks - 1 + len(SPECIALS), 0
    with (folder / f"{name}.ids").open("wb") as ids, (folder / f"{name}.offsets").open("wb") as to:
        to.write(np.zeros(1, dtype=OFFSET).tobytes())
        for begin in range(0, count, PIECE):
            lengths = rng.integers(SHORTEST, LONGEST + 1, min(PIECE, count - begin))
            drawn = rng.integers(RANKS, size=int(lengths.sum()), dtype=np.uint32)
            ids.write(words[drawn].astype(np.uint16).tobytes())
            to.write((end + np.cumsum(lengths)).astype(OFFSET).tobytes())
            end += int(lengths.sum())
    return end


def drawn(folder: Path) -> dict[str, float]:
    """Open and draw batches for a while; what came of it."""
    from core.text.corpus import Corpus
    from core.training.batches import Batches

    began = time.perf_counter()
    corpus = Corpus.open(folder)
    batches = Batches(corpus.train, BATCH, LONGEST + 1, seed=0)
    opened = time.perf_counter()
    number = 0
    while time.perf_counter() - opened < DRAWING_SECONDS and number < batches.per_epoch:
        batches.batch(number)
        number += 1
    rate = number * BATCH / (time.perf_counter() - opened)
    return {
        "opening_s": opened - began,
        "sentences": number * BATCH,
        "sentences_per_s": rate,
    }


def watched(name: str, arguments: Sequence[str], place: str) -> None:
    """Run Python in a process of its own and print what it said, and the memory of every process
    that has imported torch: that of `torchrun` itself beside those that it starts.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    peaks: dict[int, dict[str, float]] = {}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = psutil.Popen(
            [sys.executable, *arguments], cwd=place, env=environment, stdout=said
        )
        while process.poll() is None:
            for pid, found in memory(process):
                seen = peaks.setdefault(pid, found)
                peaks[pid] = {key: max(value, seen[key]) for key, value in found.items()}
            time.sleep(LOOKS)
        if process.returncode:
            raise SystemExit(f"{name}: exit status {process.returncode}")
        seconds = time.perf_counter() - began
        said.seek(0)
        documents = [json.loads(line) for line in said.read().splitlines() if line[:1] == "{"]
    facts = {
        k: v for k, v in (documents[0] if documents else {}).items() if isinstance(v, int | float)
    }
    memories = sorted(peaks.values(), key=lambda peak: -peak["rss"])
    most = memories[0]["rss"]
    show(name, **facts, all_s=seconds, processes_mb=memories, bar_mb=BAR_MB, kept=most <= BAR_MB)


def memory(process: psutil.Process) -> Iterator[tuple[int, dict[str, float]]]:
    """Megabytes of the process and all below it, as /proc has them."""
    with suppress(psutil.NoSuchProcess):
        for each in [process, *process.children(recursive=True)]:
            with suppress(OSError, IndexError):  # it ended meanwhile
                status = Path(f"/proc/{each.pid}/status").read_text()
                yield (
                    each.pid,
                    {
                        key: int(status.split(f"{field}:")[1].split()[0]) * 1024 / 1e6
                        for key, field in FIELDS.items()
                    },
                )


def show(name: str, **facts: Any) -> None:
    """Print one measure."""
    print(json.dumps({"name": f"billion: {name}", **facts}), flush=True)


if __name__ == "__main__":
    main()
