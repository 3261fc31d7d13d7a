"""Steps of the players against their plain definitions."""

from __future__ import annotations

import sys

import pytest
import torch

from core.config import Config
from core.errors import InputError
from core.training.discriminator_step import draw_fakes
from core.training.loop import train_phase
from core.training.players import Adam, Players, as_module, build
from core.training.state import TrainingState
from core.types import PAD, Noise, Phase
from experiments import load
from tests.conftest import tiny
from variants import registry

V, N, S = 29, 8, 8
CPU = torch.device("cpu")


class Batches:
    """Random sentences of V tokens."""

    sentences, per_epoch = 100, 10

    def batch(self, number: int) -> torch.Tensor:
        return torch.randint(4, V, (N, S), generator=torch.Generator().manual_seed(number))


def gradients_of(players: Players) -> dict[str, torch.Tensor]:
    """Those that the last steps left, by weight."""
    return {
        f"{name}.{key}": weight.grad.clone()
        for name, module in players.modules()
        for key, weight in module.named_parameters()
        if weight.grad is not None
    }


def after(
    config: Config, phases: list[Phase], seen: list[int] | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Gradients and logged values after some phases, in float64, weights held still; `seen` gets
    the sentences of each parallel pass.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        players = build(config, registry(), V, CPU)
        state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
        if seen is not None:
            parallel = players.generator.parallel

            def watched(tokens: torch.Tensor, noise: Noise) -> torch.Tensor:
                seen.append(len(tokens))
                return parallel(tokens, noise)

            as_module(players.generator).parallel = watched  # type: ignore[assignment]
        for phase in phases:
            train_phase(state, phase)
        return gradients_of(players), state.metrics
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("hide", ["false", "true"])
def test_micro_batches_add_up_to_the_whole_batch(hide: str) -> None:
    shared = ("sampling.name=detached", f"train.batch_size={N}", f"model.mask_after_eos={hide}",
              "train.generator_lr=1e-9", "train.discriminator_lr=1e-9")  # fmt: skip
    phases = [Phase("discriminator", "adversarial", 2), Phase("generator", "adversarial")]
    whole, values = after(tiny(*shared), phases)
    parts, same_values = after(tiny(*shared, "train.micro_batch=2"), phases)
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.allclose(value, parts[key], rtol=1e-5, atol=1e-8), key
    for key, number in values.items():
        assert same_values[key] == pytest.approx(number, rel=1e-5, abs=1e-8)


def test_rates_fall_to_their_share() -> None:
    config = tiny(
        "train.lr_decay=0.01", f"train.batch_size={N}", "train.generator_lr=0.5", "train.updates=10"
    )
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
    rates = []
    for update in (0, 5, 10):
        state.counters.update = update
        train_phase(state, Phase("generator", "adversarial"))
        rates.append(players.trainable["generator"].optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.5, 0.05, 0.005])


def test_micro_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of micro_batch 3"):
        tiny("train.batch_size=8", "train.micro_batch=3")


def test_the_generators_step_leaves_no_gradient_on_d() -> None:
    found, _ = after(tiny(f"train.batch_size={N}"), [Phase("generator", "adversarial")])
    assert found
    assert not [key for key in found if key.startswith("discriminator")]


def test_a_likelihood_step_ignores_what_is_padding_everywhere() -> None:
    class Short(Batches):
        def batch(self, number: int) -> torch.Tensor:
            tokens = super().batch(number)
            tokens[:, 5:] = PAD
            return tokens

    config = load("mle", [f"train.batch_size={N}", f"model.length={S}"])
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, Short(), CPU)  # type: ignore[arg-type]
    seen: list[int] = []
    parallel = players.generator.parallel

    def watched(tokens: torch.Tensor, noise: object) -> torch.Tensor:
        seen.append(tokens.shape[1])
        return parallel(tokens, noise)  # type: ignore[arg-type]

    as_module(players.generator).parallel = watched  # type: ignore[assignment]
    train_phase(state, Phase("generator", "likelihood"))
    assert seen == [5]


def test_a_likelihood_step_computes_one_micro_batch_at_a_time() -> None:
    shared = ("schedule.name=pretrain", f"train.batch_size={N}", "sampling.name=gumbel_softmax")
    phases = [Phase("generator", "likelihood")]
    seen: list[int] = []
    whole, values = after(tiny(*shared), phases, seen)
    parts, same_values = after(tiny(*shared, "train.micro_batch=2"), phases, seen)
    assert seen == [N, 2, 2, 2, 2]
    for key, value in whole.items():
        assert torch.allclose(value, parts[key], rtol=1e-5, atol=1e-8), key
    assert same_values == pytest.approx(values)


@pytest.mark.parametrize(("reuse", "drawn"), [("false", 3), ("true", 1)])
def test_the_d_steps_of_a_phase_reuse_their_fakes_only_where_asked(reuse: str, drawn: int) -> None:
    config = tiny(f"train.batch_size={N}", f"train.reuse_fakes={reuse}")
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
    words = [draw.d_input for draw in draw_fakes(state, 3)]
    assert len(words) == 3
    table = torch.randn(V, 4)
    assert len({tuple(w.embed(table).flatten().tolist()) for w in words}) == drawn


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_gradients_are_clipped_to_a_norm_and_the_norm_before_is_logged(player: str) -> None:
    phases = [Phase(player, "adversarial")]
    whole, values = after(tiny(f"train.batch_size={N}"), phases)
    clipped, same_values = after(tiny(f"train.batch_size={N}", "train.clip=1e-3"), phases)
    norm = values[f"train/{player}_gradient_norm"]
    assert norm > 1e-3
    assert same_values[f"train/{player}_gradient_norm"] == pytest.approx(norm)
    mine = [key for key in whole if key.startswith(player)]
    assert mine
    for key in mine:
        assert torch.allclose(clipped[key], whole[key] * 1e-3 / norm, rtol=1e-3, atol=1e-12), key


def test_a_frozen_weight_of_a_player_stays_frozen() -> None:
    config = tiny(f"train.batch_size={N}")
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
    frozen = [next(player.module.parameters()) for player in players.trainable.values()]
    before = [weight.requires_grad_(False).clone() for weight in frozen]
    for player in players.trainable:
        train_phase(state, Phase(player, "adversarial"))
    assert not any(weight.requires_grad for weight in frozen)
    assert all(map(torch.equal, frozen, before))


def test_progress_may_be_that_of_the_adversarial_phase() -> None:
    budget = [f"train.batch_size={N}", "train.updates=10", "train.minutes=1"]
    found = []
    for of in ("run", "adversarial"):
        config = tiny(*budget, f"train.progress={of}", "temperature.name=exponential",
                      "temperature.steps=4")  # fmt: skip
        players = build(config, registry(), V, CPU)
        state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
        counters = state.counters
        for update, seconds in ((6, 42.0), (8, 42.0), (8, 57.0), (10, 57.0)):
            counters.update, counters.seconds = update, seconds
            counters.pretraining = 6, 42.0
            found.append((state.progress, state.temperature_progress))
    assert [progress for progress, _ in found[:4]] == pytest.approx([0.7, 0.8, 0.95, 1.0])
    assert [progress for progress, _ in found[4:]] == pytest.approx([0.0, 0.5, 15 / 18, 1.0])
    assert [steps for _, steps in found[:4]] == [0.0, 0.5, 0.5, 1.0]


def test_adam_is_that_of_torch_without_its_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(kind: type[torch.optim.Adam]) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.ones(3))
        optimiser = kind([{"params": [weight], "weight_decay": 0.1}], lr=0.1, betas=(0.5, 0.9))
        for step in range(4):
            if step == 2:
                optimiser.load_state_dict(optimiser.state_dict())
            optimiser.zero_grad()
            (weight * torch.arange(3.0)).square().sum().backward()
            optimiser.step()
        return weight.detach()

    expected = trained(torch.optim.Adam)
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # its import fails
    assert torch.equal(trained(Adam), expected)
