"""The product of all slots: which combinations are accepted, and that those train.

A combination is tiny (`TINY`), its corpus random words; "trains" means three updates of its
schedule and then sentences drawn, with finite numbers all along or a run that says it diverged.
`make product` walks everything that is accepted, in parts if asked, and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from core.config import override, parse
from core.config.slots import GAME, SLOTS, conflict
from core.seeding import generator as stream
from core.training.loop import Trainer
from core.training.optimisation import Diverged
from core.training.players import build
from core.training.rollout import sample_tokens
from core.training.state import TrainingState
from variants import registry

Names = dict[str, str]  # slot -> strategy
V, N, S = 12, 4, 5
# Settings that make a strategy small enough to train in a blink.
TINY: Mapping[str, Mapping[str, Any]] = {
    "generator.transformer": {"width": 4, "hidden": 4, "heads": 2, "noise_blocks": 1,
                              "output_blocks": 1},
    "generator.lstm": {"width": 4},
    "generator.gru": {"width": 4},
    "generator.relational_memory": {"width": 4, "heads": 2, "head_size": 2},
    "noise_mapping.full": {"layers": 1},
    "noise_mapping.broadcast": {"layers": 1},
    "discriminator.transformer": {"width": 4, "hidden": 4, "heads": 2, "layers_per_block": 1,
                                  "backbone_blocks": 1, "output_blocks": 1},
    "discriminator.lstm": {"width": 4, "hidden": 4},
    "discriminator.lstm_last": {"width": 4, "hidden": 4},
    "discriminator.cnn": {"width": 4, "kernels": [1, 2], "filters": [3, 3]},
    "discriminator.deep_cnn": {"width": 4, "filters": [3, 3, 3, 3], "hidden": 4},
    "discriminator.multi_cnn": {"representations": 2, "kernels": [2, 3], "filters": [3, 3]},
    "estimator.rollout": {"completions": 2},
    "estimator.group_relative": {"group": 2, "prefix": 1, "epochs": 2},
    "estimator.rank": {"completions": 2, "references": 3},
    "schedule.adversarial": {"n_d": 1},
    "schedule.pretrain": {"generator_updates": 1, "discriminator_updates": 1},
    "schedule.interleaved": {"every": 2},
}  # fmt: skip


def product() -> Iterator[Names]:
    """Every combination of strategies; a schedule without a game has no slots of it."""
    for schedule in registry().names("schedule"):
        game = registry().strategy("schedule", schedule).adversarial
        slots = [s for s in SLOTS if s != "schedule" and (game or s not in GAME)]
        for names in itertools.product(*(registry().names(slot) for slot in slots)):
            yield {**dict(zip(slots, names, strict=True)), "schedule": schedule}


def accepted(names: Names) -> bool:
    """What the check of a configuration says."""
    return conflict({slot: registry().strategy(slot, name) for slot, name in names.items()}) is None


def alike(slot: str) -> list[list[str]]:
    """Strategies of a slot that the check cannot tell apart."""
    kinds: dict[Any, list[str]] = {}
    asked = {
        capability
        for other in SLOTS
        for name in registry().names(other)
        for of, capability in registry().strategy(other, name).needs.items()
        if of == slot
    }
    for name in registry().names(slot):
        strategy = registry().strategy(slot, name)
        kind = (frozenset(strategy.needs.items()), strategy.offers & asked,
                getattr(strategy, "adversarial", None))  # fmt: skip
        kinds.setdefault(kind, []).append(name)
    return list(kinds.values())


def tables(names: Names) -> dict[str, Any]:
    """The configuration of a combination, tiny."""
    chosen = {slot: {"name": n, **TINY.get(f"{slot}.{n}", {})} for slot, n in names.items()}
    return {
        **chosen,
        "model": {"length": S, "mask_after_eos": True},
        "train": {"updates": 3, "batch_size": N, "clip": 1.0},
    }


class RandomBatches:
    """Random sentences of V words."""

    per_epoch = sentences = 10

    def batch(self, number: int) -> torch.Tensor:
        tokens = torch.randint(4, V, (N, S), generator=torch.Generator().manual_seed(number))
        tokens[0, 3:] = torch.tensor([2, 0])  # one that ends early
        return tokens


def trains(names: Names, *settings: str) -> None:
    """Three updates with further settings (`key=value`), then sentences; anything but numbers or a
    divergence that says so raises.
    """
    config, device = parse(override(tables(names), settings), registry()), torch.device("cpu")
    players = build(config, registry(), V, device)
    logged: list[Mapping[str, float | None]] = []
    state = TrainingState(config, players, RandomBatches(), device)  # type: ignore[arg-type]
    trainer = Trainer(state, lambda values, step: logged.append(values))
    try:
        trainer.train(lambda: None, lambda: None)
    except Diverged:
        return
    assert state.counters.update == 3
    assert logged
    tokens = sample_tokens(players.averaged, players.sampling_at(config, 1.0), N, stream(0, "x"))
    assert tokens.shape == (N, S)
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < V
    state.tensors()


def covering_array(seed: int = 0) -> list[Names]:
    """Accepted combinations in which every pair of strategies appears that appears in any."""
    rng = random.Random(seed)
    kinds = {slot: alike(slot) for slot in SLOTS}
    kind_of = {s: {n: k for k in kinds[s] for n in k} for s in SLOTS}
    frames = [  # accepted combinations of kinds; the members of a kind are free
        frame for frame in _frames(kinds) if accepted({s: k[0] for s, k in frame.items()})
    ]
    pairs = {
        ((a, x), (b, y))
        for frame in frames
        for a, b in itertools.combinations(sorted(frame), 2)
        for x in frame[a]
        for y in frame[b]
    }
    rows = []
    while pairs:
        (a, x), (b, y) = min(pairs)
        fitting = [
            f for f in frames
            if f.get(a) is kind_of[a][x] and f.get(b) is kind_of[b][y]
        ]  # fmt: skip
        tries = []
        for _ in range(60):
            frame = rng.choice(fitting)
            row = {slot: rng.choice(kind) for slot, kind in frame.items()}
            tries.append({**row, a: x, b: y})
        best = max(tries, key=lambda row: len(_pairs(row) & pairs))
        pairs -= _pairs(best)
        rows.append(best)
    return rows


def _frames(kinds: Mapping[str, list[list[str]]]) -> Iterator[dict[str, list[str]]]:
    for schedule in kinds["schedule"]:
        game = registry().strategy("schedule", schedule[0]).adversarial
        slots = [s for s in SLOTS if s != "schedule" and (game or s not in GAME)]
        for chosen in itertools.product(*(kinds[slot] for slot in slots)):
            yield {**dict(zip(slots, chosen, strict=True)), "schedule": schedule}


def _pairs(row: Names) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    return set(itertools.combinations(sorted(row.items()), 2))


def main() -> None:
    """Walk the accepted product; the file of done numbers makes it resumable."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--part", default="1/1", help="K/N: every N-th combination from the K-th")
    parser.add_argument("--sample", type=int, help="this many combinations, drawn at random")
    parser.add_argument("--done", type=Path, default=Path("product.done"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    part, parts = (int(number) for number in options.part.split("/"))
    mine = [names for i, names in enumerate(filter(accepted, product())) if i % parts == part - 1]
    if options.sample:
        mine = random.Random(0).sample(mine, min(options.sample, len(mine)))
    done = options.done.with_suffix(f".{part}of{parts}.{options.sample or 'all'}")
    start = int(done.read_text()) if done.exists() else 0
    print(f"{len(mine):,} accepted combinations, {start:,} done before", flush=True)
    for i, names in enumerate(mine[start:], start=start + 1):
        try:
            trains(names)
        except Exception as error:
            raise SystemExit(f"{names}: {type(error).__name__}: {error}") from error
        if i % 1000 == 0 or i == len(mine):
            done.write_text(str(i))
            print(f"{i:,} of {len(mine):,} train", flush=True)


if __name__ == "__main__":
    main()
