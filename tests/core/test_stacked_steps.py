"""Steps of several runs at once against the same steps of each run alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from core.config import Config
from core.nn import likelihood
from core.parsing import parse
from core.players import build
from core.stackable import shape_of, why_alone
from core.steps import Diverged
from core.train import Trainer
from core.walks import Walker, walk_alone, walk_together
from tests.core.largest import Largest
from tests.product import SLOTS, N, Names, S, V, covering_array, tables
from variants import registry

CPU = torch.device("cpu")
ADVERSARIAL = {"temperature": "constant", "schedule": "adversarial"}
GAMES: dict[str, Names] = {
    "wgan_gp": {
        "generator": "transformer", "next_input": "noise", "noise_mapping": "full",
        "sampling": "detached", "estimator": "pathwise", "discriminator": "transformer",
        "objective": "wasserstein", "penalty": "gradient_penalty", **ADVERSARIAL,
    },
    "scratchgan": {
        "generator": "lstm", "next_input": "last_token", "noise_mapping": "none",
        "sampling": "categorical", "estimator": "dense_reinforce", "discriminator": "lstm",
        "objective": "minimax", "penalty": "none", **ADVERSARIAL,
    },
    "mle": {
        "generator": "gru", "next_input": "last_token_noise", "noise_mapping": "broadcast",
        "sampling": "straight_through", "temperature": "constant", "schedule": "mle",
    },
}  # fmt: skip
INSIDE = ("generator", "next_input", "noise_mapping", "sampling", "estimator", "discriminator",
          "objective", "penalty")  # fmt: skip


class Sentences:
    """Random sentences of V words, each seed its own, that end anywhere."""

    per_epoch = 10

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def batch(self, number: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(100 * self.seed + number)
        tokens = torch.randint(4, V, (N, S), generator=rng)
        for row, end in zip(tokens, torch.randint(1, S, (N,), generator=rng), strict=True):
            row[end], row[end + 1 :] = 2, 0
        return tokens


class Whole(Sentences):
    """Sentences of S words."""

    def batch(self, number: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(100 * self.seed + number)
        return torch.randint(4, V, (N, S), generator=rng)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def configs(names: Names, count: int, updates: int) -> list[Config]:
    """Seeds of one combination, of which each has rates of its own."""
    found = []
    for seed in range(count):
        settings = tables(names)
        settings["seed"] = seed
        rates = {"generator_lr": 2e-4 * (seed + 1), "clip": 1.0 / (seed + 1), "ema": 0.5}
        settings["train"] |= {"updates": updates, "entropy": 0.01, **rates}
        for table in settings.values():
            own = isinstance(table, dict) and "name" in table
            if own and table["name"] in ("lstm", "projection", "cnn", "multi_cnn"):
                table["dropout"] = 0.0
            if own and table["name"] == "cnn":
                table["output_decay"] = 0.2  # of each run's own optimiser
        found.append(parse(settings, registry()))
    return found


def trainer(config: Config, stacked: bool = False) -> Trainer:
    players = build(config, registry(), V, CPU)
    run = Trainer(config, players, Sentences(config.seed), CPU, lambda values, step: None)  # type: ignore[arg-type]
    run.counters.stacked = stacked
    return run


def twice(settings: Sequence[Config]) -> tuple[list[Trainer], list[Trainer]]:
    """The same runs to be trained separately and as a stack."""
    return [trainer(config) for config in settings], [trainer(config, True) for config in settings]


def walk(run: Trainer) -> Any:
    return run.walk(lambda: None, lambda: None)


def together(runs: Sequence[Trainer]) -> list[Walker[None]]:
    walkers = [Walker(walk(run), run) for run in runs]
    walk_together(walkers)
    return walkers


def difference(a: Trainer, b: Trainer) -> float:
    """The largest of weights, optimisers, random states, losses and norms.

    Biases of keys are left out: a softmax over keys does not feel them, so their gradient is
    nothing but rounding, of which Adam makes steps of its own size.
    """
    ours, theirs = ({k: _felt(k, v) for k, v in run.state().items()} for run in (a, b))
    assert ours.keys() == theirs.keys()
    assert a.steps.values.keys() == b.steps.values.keys()
    pairs = [(ours[key], theirs[key]) for key in ours]
    pairs += [(torch.tensor(v), torch.tensor(b.steps.values[k])) for k, v in a.steps.values.items()]
    return max(float((x.double() - y.double()).abs().max()) for x, y in pairs)


def _felt(key: str, value: torch.Tensor) -> torch.Tensor:
    return value.chunk(2)[1] if key.endswith("key_value.bias") else value


@pytest.mark.parametrize("game", GAMES)
def test_each_run_of_a_stack_is_its_own_separate_run(game: str) -> None:
    settings = configs(GAMES[game], 3, 20)
    assert len({shape_of(config) for config in settings}) == 1
    assert not why_alone(settings[0])
    separate, stacked = twice(settings)
    for run in separate:
        run.train(lambda: None, lambda: None)
    assert all(walker.error is None for walker in together(stacked))
    for a, b in zip(separate, stacked, strict=True):
        assert b.counters.update == 20
        assert difference(a, b) < 1e-4
    assert difference(stacked[0], stacked[1]) > 1e-2


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("game", GAMES)
def test_to_ten_digits_in_double_precision(game: str) -> None:
    settings = configs(GAMES[game], 2, 20)
    separate, stacked = twice(settings)
    for run in separate:
        run.train(lambda: None, lambda: None)
    together(stacked)
    assert max(map(difference, separate, stacked)) < 1e-10


def every_strategy() -> list[Names]:
    """Combinations in which each strategy whose code the common pass runs appears."""
    missing = {(slot, name) for slot in INSIDE for name in registry().names(slot)}
    rows = []
    for names in covering_array():
        found = missing & names.items()
        if found and names["schedule"] in ("adversarial", "mle"):
            missing -= found
            rows.append(names)
    assert not missing
    return rows


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("room", [likelihood.ROOM, 0], ids=["held", "anew"])
def test_every_strategy_that_may_be_in_a_stack(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "ROOM", room)  # logits held, or computed anew for each step
    for names in every_strategy():
        settings = configs(names, 2, 1)
        assert not why_alone(settings[0]), names
        separate, stacked = twice(settings)
        for run in separate:
            run.train(lambda: None, lambda: None)
        assert all(walker.error is None for walker in together(stacked)), names
        assert max(map(difference, separate, stacked)) < 1e-10, names


@pytest.mark.parametrize("game", ["scratchgan", "mle"])
def test_no_stack_holds_the_logits_of_all_steps(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At V = 3,008 the largest tensor is one step's logits of both runs, or weights of both."""
    monkeypatch.setattr(likelihood, "ROOM", 0)
    big = 3_008  # whole panels of columns
    runs = []
    for config in configs(GAMES[game], 2, 1):
        players = build(config, registry(), big, CPU)
        runs.append(Trainer(config, players, Sentences(config.seed), CPU, lambda v, step: None))  # type: ignore[arg-type]
        runs[-1].counters.stacked = True
    weights = max(w.numel() for _, m in runs[0].players.modules() for w in m.parameters())
    with Largest() as largest:
        assert all(walker.error is None for walker in together(runs))
    assert largest.numbers <= 2 * max(N * big, weights) < 2 * N * S * big


def test_a_run_that_diverges_stands_still_and_the_others_go_on() -> None:
    settings = configs(GAMES["wgan_gp"], 3, 4)
    narrow = settings[1].train.model_copy(update={"max_loss": 1e-9})
    settings[1] = settings[1].model_copy(update={"train": narrow})
    separate, stacked = twice(settings)
    walkers = together(stacked)
    alone = [Walker(walk(run), run) for run in separate]
    for walker in alone:
        walk_together([walker])
    for walker in (*walkers, *alone):
        is_narrow = walker.trainer.config.train.max_loss == 1e-9
        assert isinstance(walker.error, Diverged) == is_narrow
    for a, b in zip(separate, stacked, strict=True):
        assert a.counters.update == b.counters.update
        assert difference(a, b) < 1e-4
    assert stacked[1].counters.update == 0


@pytest.mark.parametrize("game", GAMES)
def test_what_a_run_comes_to_does_not_hang_on_who_is_in_its_stack(game: str) -> None:
    """To the bit: nor on whether anybody is left in it. Sentences of one length: what is cut by
    the longest sentence of all is a sum of other parts.
    """
    settings = configs(GAMES[game], 4, 6)
    found = []
    for others in ([], [1], [2, 3], [1, 2, 3]):
        runs = [trainer(settings[place], stacked=True) for place in (0, *others)]
        for run in runs:
            run.steps.batches = Whole(run.config.seed)  # type: ignore[assignment]
        together(runs)
        found.append(runs[0])
    for run in found[1:]:
        assert run.steps.values == found[0].steps.values
        ours, theirs = run.state(), found[0].state()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_runs_that_are_at_different_phases_go_on_beside_each_other() -> None:
    names = {**GAMES["scratchgan"], "schedule": "interleaved"}
    settings = configs(names, 3, 5)
    settings[2] = settings[2].model_copy(
        update={"train": settings[2].train.model_copy(update={"updates": 3})}
    )
    separate, stacked = twice(settings)
    for run in separate:
        assert walk_alone(walk(run), run) is None
    ahead = Walker(walk(stacked[0]), stacked[0])
    walkers = [ahead, *(Walker(walk(run), run) for run in stacked[1:])]
    trainer_ = stacked[0]
    assert ahead.phase is not None
    trainer_.steps.play(ahead.phase, trainer_.progress, trainer_.counters)
    ahead.go_on()
    walk_together(walkers)
    assert [run.counters.update for run in stacked] == [5, 5, 3]
    for a, b in zip(separate, stacked, strict=True):
        assert difference(a, b) < 1e-5


def test_what_keeps_a_run_out_of_a_stack_is_named_with_its_reason() -> None:
    settings = tables(GAMES["wgan_gp"])
    settings["generator"]["attention"] = "full"
    settings["train"] |= {"minutes": 1, "micro_batch": 2, "instance_noise": 0.1}
    said = " ".join(why_alone(parse(settings, registry())))
    for key in (
        "generator.attention",
        "train.minutes",
        "train.micro_batch",
        "train.instance_noise",
    ):
        assert f"{key} = " in said
    settings = tables(GAMES["scratchgan"])
    settings["discriminator"] |= {"dropout": 0.1, "spectral_norm": True}
    said = " ".join(why_alone(parse(settings, registry())))
    assert "discriminator.dropout = 0.1: each run draws its masks" in said
    assert "discriminator.spectral_norm = true: power iteration" in said
    whole = parse({"system": {"name": "cot"}}, registry())
    assert "system.name = 'cot'" in why_alone(whole)[0]


def test_only_runs_of_equal_shape_are_one_program() -> None:
    base, rates = configs(GAMES["wgan_gp"], 2, 1)
    assert shape_of(base) == shape_of(rates)
    wider = tables(GAMES["wgan_gp"])
    wider["generator"]["width"] = 8
    assert shape_of(parse(wider, registry())) != shape_of(base)
    heavier = tables(GAMES["wgan_gp"])
    heavier["penalty"]["weight"] = 3.0
    assert shape_of(parse(heavier, registry())) != shape_of(base)


def test_the_slots_are_those_of_the_common_pass_or_are_not_read_in_it() -> None:
    assert set(SLOTS) == {*INSIDE, "temperature", "schedule"}
