"""What the variants write: the same latents side by side, and the best through training."""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.errors import InputError
from studies.leaderboard import Row
from studies.sections import Reading, Section

VARIANTS, STEPS, LATENTS = 4, 5, 8
EMPTY = "(no words)"
Texts = dict[int, dict[int, str]]  # step -> latent -> sentence


def sentences(reading: Reading) -> list[Section]:
    """One section across variants, one through training; none where no run kept sentences."""
    board = reading.board
    seeds = [set(row.seed_runs) for row in board.rows]
    shared = sorted(set.intersection(*seeds)) if seeds else []
    if not shared:
        return []
    seed = shared[0]
    texts = {row.variant: _texts(reading, row.seed_runs[seed]) for row in _spread(board.rows)}
    texts = {variant: found for variant, found in texts.items() if found}
    if not texts:
        return []
    return [_across(texts, seed), _through(texts, seed)]


def _spread(rows: Sequence[Row]) -> list[Row]:
    """The best, the worst, and those evenly between."""
    if len(rows) <= VARIANTS:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (VARIANTS - 1))] for i in range(VARIANTS)]


def _texts(reading: Reading, run_id: str) -> Texts:
    try:
        file = reading.tracker.artifact(run_id, "samples.json")
    except InputError:  # a run that ended before its first evaluation
        return {}
    table = json.loads(file.read_text(encoding="utf-8"))
    of = {name: position for position, name in enumerate(table["columns"])}
    found: Texts = {}
    for line in table["data"]:
        found.setdefault(int(line[of["step"]]), {})[int(line[of["row"]])] = line[of["text"]]
    return found


def _across(texts: dict[str, Texts], seed: int) -> Section:
    last = {variant: found[max(found)] for variant, found in texts.items()}
    latents = sorted({row for found in last.values() for row in found})[:LATENTS]
    rows = [
        [f"#{latent}", *(found.get(latent, "") or EMPTY for found in last.values())]
        for latent in latents
    ]
    return Section(
        "sentences",
        "Sentences side by side",
        f"The last sentences of seed {seed}, from the best variant to the worst. None is picked: "
        f"these are the first latents of the evaluation, the same noise in every column where the "
        f"generators take noise of one shape.",
        ["", *last],
        rows,
    )


def _through(texts: dict[str, Texts], seed: int) -> Section:
    variant, found = next(iter(texts.items()))
    steps = sorted(found)
    if len(steps) > STEPS:
        steps = [steps[round(i * (len(steps) - 1) / (STEPS - 1))] for i in range(STEPS)]
    rows = [
        [f"#{latent}", *(found[step].get(latent, "") or EMPTY for step in steps)]
        for latent in sorted(found[steps[-1]])[:LATENTS]
    ]
    return Section(
        "training",
        "The best variant through training",
        f"`{variant}`, seed {seed}: each row is one latent, what the same noise comes to after "
        f"more and more updates.",
        ["", *(f"after {step}" for step in steps)],
        rows,
    )
