"""A million sentences to a corpus folder: seconds, and the memory of all processes at its peak.

Bars: 120 s and 500 MB on two cores. The yardstick in the same run is one process that does nothing
but tokenise a sample of the same sentences, scaled up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from core.text.cleaning import clean

SENTENCES = 1_000_000
TYPES = 100_000
SAMPLE = 20_000


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "million.txt"
        write_sentences(source, SENTENCES)
        began = time.perf_counter()
        build = [sys.executable, "-m", "experiments", "corpus", "build", str(source)]
        process = psutil.Popen([*build, "--output", f"{temporary}/corpus"], stderr=subprocess.PIPE)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(0.2)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(process.stderr.read().decode())
        manifest = json.loads((Path(temporary) / "corpus" / "manifest.json").read_text())
        plain = tokenising_alone(source)
    result = {
        "name": "corpus_build",
        "ratio": plain / seconds,
        "fast_s": seconds,
        "plain_s": plain,
        "unit": f"seconds for {SENTENCES:,} sentences",
        "repeats": 1,
        "peak_mb": peak / 1e6,
        "kept": manifest["kept"],
        "vocabulary": manifest["vocabulary"],
    }
    print(json.dumps(result))


def write_sentences(file: Path, count: int) -> None:
    """Sentences of 5 to 19 words, frequencies falling as 1/rank, ended by a stop."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlu"))
    words = ["".join(rng.choice(letters, size=rng.integers(2, 11))) for _ in range(TYPES)]
    shares = 1 / np.arange(1, TYPES + 1)
    cumulative = np.cumsum(shares) / shares.sum()
    with file.open("w") as out:
        for _ in range(count // 1000):
            lengths = rng.integers(5, 20, size=1000)
            drawn = np.searchsorted(cumulative, rng.random(int(lengths.sum())))
            ends = np.cumsum(lengths)
            for begin, end in zip(ends - lengths, ends, strict=True):
                out.write(" ".join(words[i] for i in drawn[begin:end]) + ".\n")


def memory(process: psutil.Process) -> int:
    """Bytes that the process and its children hold, shared pages counted once."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_full_info().pss
        except psutil.Error:
            continue  # it ended between the two calls
    return total


def tokenising_alone(source: Path) -> float:
    """Seconds that one process would take to clean everything, from a sample."""
    with source.open() as stream:
        sample = [next(stream) for _ in range(SAMPLE)]
    began = time.process_time()
    for line in sample:
        clean(line, "original", "word")
    return (time.process_time() - began) * SENTENCES / SAMPLE


if __name__ == "__main__":
    main()
