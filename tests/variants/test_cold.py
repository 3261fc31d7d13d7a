"""ColdGANs: the distribution that training draws from, and the weights that undo it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.tracking.memory import MemoryTracker
from core.training.discriminator_step import draw_fakes
from core.training.generator_batch import GeneratorBatch, plan_batch
from core.training.players import as_module
from core.training.rollout import sample_with_grad
from experiments.single_run.run import run
from tests.variants.test_estimators import scored
from tests.variants.test_group_relative import state_of
from variants import registry
from variants.estimator.cold import colder

N = 8


def config(**settings: Any) -> Any:
    return registry().strategy("estimator", "cold").Config(**settings)


def test_the_distribution_mixes_a_temperature_and_a_nucleus() -> None:
    p = torch.tensor([[0.1, 0.5, 0.25, 0.15]], dtype=torch.float64)
    cold = p**2 / (p**2).sum()
    assert torch.allclose(colder(p.log(), config(temperature=0.5)), cold)
    nucleus = torch.tensor([[0, 2 / 3, 1 / 3, 0]], dtype=torch.float64)  # 75% of the probability
    for mass in (0.6, 0.75):
        found = colder(p.log(), config(temperature=0.5, epsilon=0.25, nucleus=mass))
        assert torch.allclose(found, 0.25 * cold + 0.75 * nucleus)


def test_tokens_are_drawn_from_it() -> None:
    strategy = registry().strategy("estimator", "cold")
    sampling = strategy(config(epsilon=0.5, nucleus=0.6)).plan.sampling
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).repeat(20_000, 1)
    q = colder(logits[:1], config(epsilon=0.5, nucleus=0.6))[0]
    drawn = torch.bincount(sampling.select(logits.clone(), 0, (7,), 1.0), minlength=4) / 20_000
    assert torch.allclose(drawn, q, atol=0.015)


def test_both_players_train_on_it_and_evaluation_does_not() -> None:
    sharp = ("schedule.name=adversarial", "estimator.name=cold", "estimator.temperature=0.01")
    state = state_of(*sharp, "train.replay=0")
    assert type(state.sampling_spec().sampling).__name__ == "Categorical"
    with torch.no_grad():
        state.players.generator.head.bias[7] = 2.0  # the likeliest, but not by far
    spec, _ = plan_batch(state.adversary.plan, state.sampling_spec(), state.last_tokens())
    draw = sample_with_grad(state.players.generator, spec, N, state.streams["noise"])
    (fake,) = draw_fakes(state, 1)
    for tokens in (draw.tokens, fake.tokens):
        assert tokens.eq(7).all()


@pytest.mark.parametrize("bound", [1e6, 0.5])
def test_weights_are_ratios_of_sentences_up_to_the_bound(bound: float) -> None:
    state = state_of("schedule.name=adversarial", "estimator.name=cold", f"estimator.bound={bound}",
                     "estimator.rho=0.0", "discriminator.dropout=0.0")  # fmt: skip
    adversary, G = state.adversary, state.players.generator
    with torch.no_grad():
        for weight in as_module(G).parameters():
            weight.mul_(2)
    spec, real = plan_batch(adversary.plan, state.sampling_spec(), state.last_tokens())
    draw = sample_with_grad(G, spec, N, state.streams["noise"])
    batch = GeneratorBatch(draw, real, G, spec, adversary.discriminator, adversary.objective,
                           state.streams["estimator"])  # fmt: skip
    (found,) = adversary.estimator.prepare(batch)  # the baseline begins at zero
    logits = G.head(draw.hidden)
    log_p, log_q = (
        each.log_softmax(-1).gather(-1, draw.tokens[..., None])[..., 0]
        for each in (logits, logits / 0.5)
    )
    ratio = ((log_p - log_q) * batch.mask).sum(1).exp()
    expected = ratio.clamp(max=bound) * batch.rewards().per_sentence()
    assert torch.allclose(found, expected, rtol=1e-4)
    assert (ratio > 0.5).any()


def test_a_run_with_diagnoses_ends(tmp_path: Path) -> None:
    settings = ("train.updates=2", "evaluation.gradients=2")
    outcome = run(scored("cold", *settings), tracker=MemoryTracker(tmp_path)).outcome
    assert outcome in ("ok", "collapsed")
