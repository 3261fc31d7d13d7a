"""What an evaluation costs and whether it holds what it says, at the sizes that it is used at.

    python -m benchmarks.evaluation [NAME ...]

`evaluation_2000`, `evaluation_10000`: `textgan evaluate` on so many captions against as many, with
10,000 to train on: everything that it does by default, with the rows of real text, MLE and n-grams;
the first time, when the MLE baseline has to be trained, and again. Bar: 120 s on two cores for
2,000, where the judge takes some 10 CPU seconds a row; with 10,000 it takes some 45, and there are
six rows. `evaluation_million`: a million samples, peak memory of all its processes. Bar: 4 GB.
`bleu_equality`: largest difference to NLTK of BLEU and Self-BLEU, n = 2..5, on a few sentences
against all 10,000 (`python -m benchmarks.speed --only bleu` times all of them). `halves_500`,
`halves_10000`: FED, MMD and the classifier on random halves of one corpus.
`evaluation_in_training`: an evaluation beside the updates between two of them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.captions import captions
from benchmarks.corpus_build import memory, write_sentences
from benchmarks.texts import FEW
from core.metrics.bleu import ReferenceIndex, bleu, self_bleu
from core.metrics.catalogue import BLEU_ORDERS
from core.metrics.encoders import WordOrder
from core.metrics.fed import fed
from core.metrics.mmd import mmd
from core.metrics.suite import Suite
from core.metrics.two_sample import c2st

SENTENCES = 10_000
MILLION = 1_000_000
SPLITS = {500: 20, SENTENCES: 5}  # sentences of a half, and how many random splits
BYTES = 4e9
SECONDS = {2000: 120.0}  # of sentences
Text = list[list[str]]


def pooled() -> tuple[Text, str]:
    """Both halves of the published captions in one random order."""
    first, origin = captions("coco_train.txt", SENTENCES)
    second, _ = captions("coco_test.txt", SENTENCES)
    text = [*first, *second]
    return [text[i] for i in np.random.default_rng(0).permutation(len(text))], origin


def default(n: int) -> None:
    """`evaluation_N`."""
    text, origin = pooled()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train, others = text[:SENTENCES], text[SENTENCES:]
        # All captions are then samples or references; the other two are these in another order.
        whole = n == SENTENCES
        files = {
            "samples": train if whole else others[:n],
            "references": others if whole else others[n : 2 * n],
            "held_out": train[::-1] if whole else others[2 * n : 3 * n],
            "train": others if whole else train,
        }
        for name, sentences in files.items():
            write(folder / f"{name}.txt", sentences)
        command = [str(folder / "samples.txt")]
        for name in ("references", "held_out", "train"):
            command += [f"--{name.replace('_', '-')}", str(folder / f"{name}.txt")]
        first = evaluated(folder, command)
        again = evaluated(folder, command)
    show(f"evaluation_{n}", f"seconds, {n:,} x {n:,} {origin}, all groups, all rows",
         SECONDS.get(n), first["wall_s"], first=first, again=again)  # fmt: skip


def million() -> None:
    """`evaluation_million`."""
    text, _ = pooled()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_sentences(folder / "samples.txt", MILLION)
        write(folder / "references.txt", text[:SENTENCES])
        files = [str(folder / "samples.txt"), "--references", str(folder / "references.txt")]
        found = evaluated(folder, files)
    show("evaluation_million", f"bytes at the peak of all processes, {MILLION:,} samples, all "
         "groups that need no training text", BYTES, found["peak_bytes"], run=found)  # fmt: skip


def evaluated(folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """One `textgan evaluate` in a process of its own: seconds and bytes, of its children too."""
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlruns/mlflow.db"}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "experiments", "evaluate", *arguments, "--json"]
    with (folder / "out.json").open("w") as out:
        process = psutil.Popen(command, stdout=out, stderr=subprocess.PIPE,
                               env={**os.environ, **store})  # fmt: skip
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode())
    document = json.loads((folder / "out.json").read_text())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": max(peak, 1024 * after.ru_maxrss),
        "metrics": len(document["metrics"]),
        "rows": [name for name, row in document["baselines"].items() if row is not None],
        "load": os.getloadavg()[0],
    }


def bleu_equality() -> None:
    """`bleu_equality`."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    references, origin = captions("coco_train.txt", SENTENCES)
    hypotheses, _ = captions("coco_test.txt", SENTENCES)
    smooth = SmoothingFunction().method1
    ours, own = bleu(hypotheses, ReferenceIndex(references)), self_bleu(hypotheses).scores
    worst = 0.0
    for place in range(FEW):
        others = hypotheses[:place] + hypotheses[place + 1 :]
        for n in BLEU_ORDERS:
            for found, against in ((ours, references), (own, others)):
                theirs = sentence_bleu(against, hypotheses[place], [1 / n] * n, smooth)
                worst = max(worst, abs(float(found[n][place]) - float(theirs)))
    show("bleu_equality", f"largest difference to NLTK, n = 2..5, {FEW} of {len(hypotheses):,} "
         f"hypotheses against {len(references):,} {origin}", 1e-12, worst)  # fmt: skip


def halves(n: int) -> None:
    """`halves_N`: how often the interval of a distance holds 0, and the classifier's p."""
    text, origin = pooled()
    encoder = WordOrder(text)
    embedded = encoder(text)
    rng = np.random.default_rng(0)
    splits = SPLITS[n]
    found: dict[str, list[Any]] = {"fed": [], "mmd": [], "c2st_p": []}
    for _ in range(splits):
        order = rng.permutation(len(text))[: 2 * n]
        x, y = embedded[order[: len(order) // 2]], embedded[order[len(order) // 2 :]]
        for name, distance in (("fed", fed), ("mmd", mmd)):
            measured = distance(x, y)
            found[name].append((measured.value, *(measured.interval() or (None, None))))
        ours, theirs = ([text[i] for i in part] for part in np.split(order, 2))
        found["c2st_p"].append(c2st(ours, theirs)["c2st_p"].value)
    held = {
        name: float(np.mean([low <= 0 <= high for _, low, high in found[name]]))
        for name in ("fed", "mmd")
    }
    show(f"halves_{n}", f"share of {splits} random halves whose interval holds 0, {n:,} x "
         f"{n:,} {origin}", 0.95, min(held.values()), holds_zero=held,
         mean={name: float(np.mean([v for v, *_ in found[name]])) for name in held},
         c2st_p=found["c2st_p"])  # fmt: skip


def in_training() -> None:
    """`evaluation_in_training`: of the default sizes, on the default grammar."""
    from core.text.grammar import grammar

    source = grammar("default")
    suite = Suite(source.sample(1000, 1), source.sample(10_000, 2), source)
    samples = source.sample(1000, 3)
    suite.evaluate(samples)
    began = time.process_time()
    suite.evaluate(samples)
    seconds = time.process_time() - began
    show("evaluation_in_training", "CPU seconds of the metrics of one evaluation, 1,000 x 1,000 of "
         "the default grammar", None, seconds)  # fmt: skip


def show(name: str, unit: str, bar: float | None, value: float, **more: Any) -> None:
    """Print one measure beside its bar."""
    print(json.dumps({"name": name, "value": value, "bar": bar, "unit": unit, **more}), flush=True)


def write(file: Path, sentences: Text) -> None:
    """One sentence a line."""
    file.write_text("\n".join(" ".join(words) for words in sentences) + "\n", encoding="utf-8")


MEASURES: dict[str, Callable[[], None]] = {
    **{f"evaluation_{n}": partial(default, n) for n in (2000, SENTENCES)},
    "evaluation_million": million,
    "bleu_equality": bleu_equality,
    **{f"halves_{n}": partial(halves, n) for n in SPLITS},
    "evaluation_in_training": in_training,
}

if __name__ == "__main__":
    if unknown := [name for name in sys.argv[1:] if name not in MEASURES]:
        raise SystemExit(f"no measure {unknown[0]!r}; there are {', '.join(MEASURES)}")
    for chosen in sys.argv[1:] or MEASURES:
        MEASURES[chosen]()
