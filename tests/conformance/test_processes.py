"""Every estimator, with each of its baselines, and every penalty: two processes with equal shares
of a batch come to what one process comes to.
"""

from __future__ import annotations

import itertools
import random
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from core.config import GAME, SLOTS, parse
from core.errors import InputError
from core.players import build
from core.shares import Share, joined
from core.train import Trainer
from experiments.sharing import check_shareable
from tests.core.test_shares import in_two
from tests.product import N, Names, RandomBatches, V, accepted, covering_array, tables
from variants import registry

ARRAY = covering_array()
CLOSE = 1e-8  # in float64
WHOLE = {"rank"}  # estimators whose one objective compares all sentences of a batch
Case = tuple[Names, str]  # strategies, and the estimator's baseline ("": it has no choice)


def cases() -> list[Case]:
    """Every baseline of every estimator, every penalty and every schedule. A penalty is D's matter,
    an estimator G's, so each is there once.
    """
    rng, penalties = random.Random(0), itertools.cycle(registry().names("penalty"))
    found: list[Case] = []
    for estimator in registry().names("estimator"):
        for baseline in baselines(estimator) if estimator not in WHOLE else ():
            fixed = {"estimator": estimator, "penalty": next(penalties), "schedule": "adversarial"}
            found.append((some(fixed, rng), baseline))
    found += [(some({"schedule": name}, rng), "") for name in registry().names("schedule")]
    return found


def baselines(estimator: str) -> tuple[str, ...]:
    field = registry().strategy("estimator", estimator).Config.model_fields.get("baseline")
    return (field and get_args(field.annotation)) or ("",)


def some(fixed: Names, rng: random.Random) -> Names:
    """Accepted strategies in the other slots, whose losses may be cut into parts."""
    game = registry().strategy("schedule", fixed["schedule"]).adversarial
    slots = [slot for slot in SLOTS if game or slot not in GAME]
    while True:
        names = {slot: fixed.get(slot) or rng.choice(registry().names(slot)) for slot in slots}
        parts = (
            "mean_over_sentences" in registry().strategy(slot, names[slot]).offers
            for slot in ("estimator", "objective")
            if slot in names
        )
        if accepted(names) and all(parts):
            return names


def without_dropout(written: dict[str, Any]) -> None:
    """It is drawn for a part of a batch at once, and so in one process."""
    for slot in {"generator", "discriminator"} & written.keys():
        if "dropout" in registry().strategy(slot, written[slot]["name"]).Config.model_fields:
            written[slot]["dropout"] = 0


def states(found: list[Case]) -> list[dict[str, Any]]:
    """All that is left of each after two updates in float64, by this process's share."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        with joined(cuda=False) as share:
            ends = []
            for names, baseline in found:
                written = tables(names)
                written["train"] |= {"updates": 2, "micro_batch": N // 2}
                without_dropout(written)
                if baseline:
                    written["estimator"]["baseline"] = baseline
                config, device = parse(written, registry()), torch.device("cpu")
                players, batches = build(config, registry(), V, device), RandomBatches()
                trainer = Trainer(
                    config,
                    players,
                    batches,
                    device,
                    lambda *_: None,
                    share,  # type: ignore[arg-type]
                )
                trainer.train(lambda: None, lambda: None)
                ends.append({key: value.tolist() for key, value in trainer.state().items()})
            return ends
    finally:
        torch.set_default_dtype(torch.float32)


def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    found = cases()
    alone = states(found)
    ended = in_two(tmp_path, partial(states, found))
    assert [end.traceback for end in ended] == ["", ""]
    first, second = (end.answer for end in ended)
    for case, one, ours, theirs in zip(found, alone, first, second, strict=True):
        assert ours == theirs, f"{case}: bit for bit"
        assert ours.keys() == one.keys()
        for key, value in one.items():
            torch.testing.assert_close(
                torch.tensor(ours[key], dtype=torch.float64),
                torch.tensor(value, dtype=torch.float64),
                rtol=0, atol=CLOSE, msg=f"{case}: {key}",
            )  # fmt: skip


def test_nothing_is_left_out() -> None:
    found = cases()
    for slot, but in (("estimator", WHOLE), ("penalty", set()), ("schedule", set())):
        there = {names.get(slot) for names, _ in found} - {None}
        assert there | but == set(registry().names(slot))
    of_rollout = {baseline for names, baseline in found if names.get("estimator") == "rollout"}
    assert of_rollout == {"none", "leave_one_out"}


@pytest.mark.parametrize("objective", registry().names("objective"))
def test_what_compares_a_whole_batch_is_refused_in_words(objective: str) -> None:
    strategy = registry().strategy("objective", objective)
    compares = "mean_over_sentences" not in strategy.offers
    names = next(row for row in ARRAY if row.get("objective") == objective)
    written = tables(names)
    if not compares:
        written["train"]["micro_batch"] = N // 2
        without_dropout(written)
        if "mean_over_sentences" in registry().strategy("estimator", names["estimator"]).offers:
            check_shareable(parse(written, registry()), Share(0, 2))
        return
    with pytest.raises(InputError, match=f"objective.name = '{objective}' compares"):
        check_shareable(parse(written, registry()), Share(0, 2))
