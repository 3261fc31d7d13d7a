"""A card of the best system that a published study has found: what it is, how well it writes, what.

Rendered from the study's summary alone, so that the same summary makes the same bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.catalogue import METRICS
from core.statistics import interval
from studies.analysis.standing import findings
from studies.analysis.wording import between
from studies.definition import from_definition
from studies.leaderboard import Row
from studies.page.report import environment
from studies.sections import Reading, Section
from variants import registry

TEMPLATE = "model_card.md"
PICTURES = "pictures/results"  # beside the card
SHOWN = ("valid", "unique", "template_tv", "oracle_nll", "ms_jaccard_2", "bleu_4",
         "self_bleu_4", "copied", "length")  # fmt: skip


@dataclass(frozen=True)
class Sentences:
    """The last evaluation's first sentences of one seed."""

    seed: int
    texts: Sequence[str]


def model_card(reading: Reading, summary: str, swept: Section | None, plane: str) -> str:
    """The card of the first row of a study's leaderboard; `summary` is the file's name,
    `swept` what sweeps over temperature of the runs of study `plane` came to.
    """
    board, tracker = reading.board, reading.tracker
    best = board.rows[0]
    definition = tracker.artifact(board.parent_run_id, "study.json").read_text(encoding="utf-8")
    study = from_definition(definition, registry())
    variant = next(each for each in study.variants if each.name == best.variant)
    written = _sentences(reading, best)
    runs = [run for run in reading.seeds if run.run_id in set(best.seed_runs.values())]
    return environment().get_template(TEMPLATE).render(
        name=best.variant,
        summary=summary,
        study=board.study,
        question=reading.table.question,
        rows=len(board.rows),
        seeds=best.seeds,
        metric=board.metric,
        command=tracker.run(board.parent_run_id).tags.get("command", ""),
        source=variant.config.corpus.source,
        fingerprint=next((run.tags["corpus"][:16] for run in runs if "corpus" in run.tags), ""),
        numbers=_numbers(reading, best),
        drawn=variant.config.evaluation.sentences,
        seed=written.seed,
        sentences=written.texts,
        settings=variant.config.toml(),
        apart=findings(board)[1:2],
        swept=swept,
        plane=plane,
        pictures=PICTURES,
    )  # fmt: skip


def _numbers(reading: Reading, row: Row) -> list[list[str]]:
    """A row a metric: the variant with its interval, real text, which way is better."""
    runs = [run.metrics for run in reading.seeds if run.run_id in set(row.seed_runs.values())]
    rows = []
    for name in SHOWN:
        values = [found[f"test/{name}"] for found in runs if f"test/{name}" in found]
        if not values:
            continue
        found = interval(values, np.random.default_rng(zlib.crc32(name.encode())))
        real = [each[f"real/{name}"] for each in runs if f"real/{name}" in each]
        info = METRICS[name]
        better = {"higher": "higher", "lower": "lower"}.get(info.direction, "near real text")
        sure = between(found.ends if len(values) > 1 else None)
        rows.append([name, f"{found.value:.4f}", sure,
                     f"{np.mean(real):.4f}" if real else "", better])  # fmt: skip
    return rows


def _sentences(reading: Reading, row: Row) -> Sentences:
    """Of the first seed, as they came."""
    seed, run_id = min(row.seed_runs.items())
    table = json.loads(reading.tracker.artifact(run_id, "samples.json").read_text("utf-8"))
    step, text = (table["columns"].index(name) for name in ("step", "text"))
    last = max(line[step] for line in table["data"])
    return Sentences(seed, [line[text] for line in table["data"] if line[step] == last])
