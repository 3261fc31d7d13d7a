"""What every metric sees of every fault: results/metrics.json, for the page of the laboratory.

    python -m benchmarks.metrics --texts grammar --n 1000,10000 [--groups ...] [--faults ...]
    python -m benchmarks.metrics --texts captions --n 1000,4000

Results are written after each fault and added to those in the file, so that a run can be stopped,
and groups of metrics or faults can be measured again alone. On the default grammar, all groups but
the judge take some four CPU minutes at 1,000 sentences and twenty at 10,000. The captions are both
halves of the published split, enough for samples of 4,000.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

from pydantic import TypeAdapter
from threadpoolctl import threadpool_limits

from benchmarks.captions import DATA
from core.metrics.catalogue import TEXT_GROUPS
from core.metrics.fault_sources import GrammarText, RealText, Source
from core.metrics.faults import FAULTS
from core.metrics.files import read_sentences
from core.metrics.laboratory import Table, TextTable, measure
from core.text.grammar import grammar

OUTPUT = Path(__file__).parents[1] / "results" / "metrics.json"
FILES = ("coco_train.txt", "coco_test.txt")
TABLE = TypeAdapter(Table)


def source_of(text: str, n: int) -> tuple[Source, str]:
    """A text, and what it is."""
    if text == "grammar":
        return GrammarText(grammar()), "the built-in grammar, default difficulty"
    sentences = [sentence for name in FILES for sentence in read_sentences(DATA / name)]
    return RealText(sentences, n, text), "COCO captions, both published halves split by a hash"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description="the metric laboratory's table")
    parser.add_argument("--texts", default="grammar,captions")
    parser.add_argument("--n", default="1000,10000", help="sentences")
    parser.add_argument("--groups", default=",".join(TEXT_GROUPS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    given = parser.parse_args()
    table = TABLE.validate_json(OUTPUT.read_bytes()) if OUTPUT.exists() else {}

    def written(what: str, done: int, total: int) -> None:
        if what in FAULTS:
            OUTPUT.write_bytes(TABLE.dump_json(table).replace(b"},", b"},\n") + b"\n")
            print(f"{text} {n} {what}: {time.process_time():.0f} CPU s", flush=True)

    for text, n in itertools.product(given.texts.split(","), map(int, given.n.split(","))):
        source, about = source_of(text, n)
        found = table.setdefault(text, TextTable(about))
        with threadpool_limits(1):
            measure(found, source, n, given.groups.split(","), given.faults.split(","), written)


if __name__ == "__main__":
    main()
