"""The core model: a cached rollout, a differentiable one and the one-pass evaluation are one
function, in value and in gradient, for every next-step input and noise mapping."""

from __future__ import annotations

import itertools

import pytest
import torch

from core.players import as_module, build_generator
from core.protocols import Generator, Noise
from core.rollout import Drawing, unroll
from core.seeding import generator as stream
from tests.conftest import tiny
from variants import registry

V, N = 13, 5
INPUTS = ["noise", "last_token", "fixed_token"]
MAPPINGS = ["full", "broadcast", "none"]


def make(*overrides: str) -> tuple[Generator, Noise]:
    config = tiny(*overrides)
    generator = build_generator(config, registry(), V)
    as_module(generator).double()
    noise = generator.draw_noise(N, stream(1, "noise"))
    doubles = {
        name: value.double()
        for name in ("latent", "inputs", "injected")
        if (value := getattr(noise, name)) is not None
    }
    return generator, Noise(
        doubles.get("latent"), doubles.get("inputs"), doubles.get("injected"), noise.seed, N
    )


def stepwise(generator: Generator, noise: Noise, tokens: torch.Tensor) -> torch.Tensor:
    """The plain definition: one step after another, gradients through every one of them."""
    state = generator.begin(noise, differentiable=True)
    hidden = [generator.step(state, None)]
    hidden += [generator.step(state, generator.embed(t)) for t in tokens.T[:-1]]
    return torch.stack(hidden, dim=1)


@pytest.mark.parametrize(("next_input", "mapping"), list(itertools.product(INPUTS, MAPPINGS)))
@pytest.mark.parametrize("attention", ["causal", "full"])
def test_one_pass_equals_step_by_step(next_input: str, mapping: str, attention: str) -> None:
    generator, noise = make(
        f"next_input.name={next_input}",
        f"noise_mapping.name={mapping}",
        f"generator.attention={attention}",
        "generator.noise_blocks=2",
        "generator.output_blocks=2",
    )
    tokens = torch.randint(V, (N, 8), generator=torch.Generator().manual_seed(0))
    plain, fast = stepwise(generator, noise, tokens), generator.parallel(tokens, noise)
    assert torch.allclose(plain, fast, atol=1e-10, rtol=0)
    module = as_module(generator)
    weights = torch.randn_like(plain)
    for hidden in (plain, fast):
        module.zero_grad()
        (generator.logits(hidden).logsumexp(-1).sum() + (hidden * weights).sum()).backward()
        gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
        if hidden is plain:
            expected = gradients
    assert len(gradients) == len(expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("next_input", INPUTS)
def test_preallocated_cache_equals_the_differentiable_one(next_input: str) -> None:
    generator, noise = make(f"next_input.name={next_input}")
    config = tiny()
    sampling = registry().strategy("sampling", "gumbel_softmax")(config.sampling)
    with torch.no_grad():
        fast = unroll(generator, Drawing(sampling), noise, (3,), differentiable=False)
    plain = unroll(generator, Drawing(sampling), noise, (3,), differentiable=True)
    assert torch.equal(fast[0], plain[0])
    assert torch.allclose(fast[1], plain[1], atol=1e-12)


def test_later_words_do_not_reach_earlier_steps() -> None:
    generator, noise = make()
    tokens = torch.randint(V, (N, 8), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 5:] = (tokens[:, 5:] + 1) % V
    before, after = generator.parallel(tokens, noise), generator.parallel(changed, noise)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_noise_is_what_makes_sentences_differ() -> None:
    generator, noise = make("sampling.name=detached")
    config = tiny("sampling.name=detached")
    sampling = registry().strategy("sampling", "detached")(config.sampling)
    tokens, _ = unroll(generator, Drawing(sampling), noise, (), differentiable=False)
    assert len({tuple(row) for row in tokens.tolist()}) > 1


def test_scale_multiplies_the_noise() -> None:
    generator, _ = make()
    one = generator.draw_noise(2, stream(1, "noise"))
    half = generator.draw_noise(2, stream(1, "noise"), 0.5)
    assert one.latent is not None
    assert half.latent is not None
    assert torch.allclose(half.latent, one.latent * 0.5)
