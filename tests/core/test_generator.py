"""Generators: a cached rollout, a differentiable one and the one-pass evaluation are one function,
in value and in gradient, for every body, next-step input and noise mapping."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from core.interfaces import Generator, SamplingSpec
from core.seeding import generator as stream
from core.training.players import as_module, build_generator
from core.training.rollout import sample_tokens, unroll
from core.types import END, Noise, visible
from tests.conftest import tiny
from variants import registry

V, N = 13, 5
INPUTS = ["noise", "last_token", "last_token_noise", "fixed_token"]
MAPPINGS = ["full", "broadcast", "none"]
BODIES = {
    "causal": ("generator.attention=causal", "generator.noise_blocks=2"),
    "full": ("generator.attention=full", "generator.noise_blocks=2"),
    "lstm": ("generator.name=lstm", "generator.layers=2", "generator.hidden=9"),
    "gru": ("generator.name=gru", "generator.layers=2", "generator.hidden=9"),
    "memory": ("generator.name=relational_memory", "generator.slots=3", "generator.head_size=7"),
    "joint norms": (
        "generator.name=relational_memory",
        "generator.head_size=7",
        "generator.norm=step",
    ),
    "dropout": ("generator.name=lstm", "generator.layers=2", "generator.dropout=0.5"),
    "transformer dropout": ("generator.noise_blocks=2", "generator.dropout=0.5"),
}


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
@pytest.mark.parametrize("body", BODIES)
def test_one_pass_equals_step_by_step(next_input: str, mapping: str, body: str) -> None:
    generator, noise = make(
        f"next_input.name={next_input}", f"noise_mapping.name={mapping}", *BODIES[body]
    )
    tokens = torch.randint(V, (N, 8), generator=torch.Generator().manual_seed(0))
    plain, fast = stepwise(generator, noise, tokens), generator.parallel(tokens, noise)
    assert torch.allclose(plain, fast, atol=1e-10, rtol=0)
    module = as_module(generator)
    weights = torch.randn_like(plain)
    for hidden in (plain, fast):
        module.zero_grad()
        (generator.head(hidden).logsumexp(-1).sum() + (hidden * weights).sum()).backward()
        gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
        if hidden is plain:
            expected = gradients
    assert len(gradients) == len(expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("next_input", INPUTS)
@pytest.mark.parametrize("body", BODIES)
def test_rollout_equals_the_differentiable_one(next_input: str, body: str) -> None:
    generator, noise = make(f"next_input.name={next_input}", *BODIES[body])
    config = tiny()
    sampling = registry().strategy("sampling", "gumbel_softmax")(config.sampling)
    with torch.no_grad():
        fast = unroll(generator, SamplingSpec(sampling), noise, (3,), differentiable=False)
    plain = unroll(generator, SamplingSpec(sampling), noise, (3,), differentiable=True)
    assert torch.equal(fast[0], plain[0])
    assert torch.allclose(fast[1], plain[1], atol=1e-12)


@pytest.mark.parametrize("body", ["causal", "lstm", "gru", "memory"])
def test_later_words_do_not_reach_earlier_steps(body: str) -> None:
    generator, noise = make(*BODIES[body])
    tokens = torch.randint(V, (N, 8), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 5:] = (tokens[:, 5:] + 1) % V
    before, after = generator.parallel(tokens, noise), generator.parallel(changed, noise)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


@pytest.mark.parametrize("body", ["causal", "lstm", "gru", "memory"])
def test_noise_is_what_makes_sentences_differ(body: str) -> None:
    generator, noise = make("sampling.name=detached", *BODIES[body])
    config = tiny("sampling.name=detached")
    sampling = registry().strategy("sampling", "detached")(config.sampling)
    tokens, _ = unroll(generator, SamplingSpec(sampling), noise, (), differentiable=False)
    assert len({tuple(row) for row in tokens.tolist()}) > 1


def test_scale_multiplies_the_noise() -> None:
    generator, _ = make()
    one = generator.draw_noise(2, stream(1, "noise"))
    half = generator.draw_noise(2, stream(1, "noise"), 0.5)
    assert one.latent is not None
    assert half.latent is not None
    assert torch.allclose(half.latent, one.latent * 0.5)


@pytest.mark.parametrize("body", ["dropout", "transformer dropout"])
def test_dropout_is_of_training_alone(body: str) -> None:
    generator, noise = make(*BODIES[body])
    tokens = torch.randint(V, (N, 8), generator=torch.Generator().manual_seed(0))
    training = generator.parallel(tokens, noise)
    assert torch.equal(training, generator.parallel(tokens, noise))
    as_module(generator).eval()
    assert not torch.allclose(training, generator.parallel(tokens, noise))


@pytest.mark.parametrize("mapping", ["full", "broadcast"])
def test_a_recurrent_first_word_knows_the_whole_latent(mapping: str) -> None:
    generator, noise = make(*BODIES["lstm"], f"noise_mapping.name={mapping}")
    assert noise.latent is not None
    latent = noise.latent.clone()
    latent[:, -1] += 1
    tokens = torch.zeros(N, 8, dtype=torch.long)
    changed = generator.parallel(tokens, replace(noise, latent=latent))
    assert not torch.allclose(changed[:, 0], generator.parallel(tokens, noise)[:, 0])


def test_a_recurrent_step_is_the_textbook_one() -> None:
    """Layers of LSTM cells, written out: gates i, f, g, o of [word; query]."""
    generator, noise = make("generator.name=lstm", "noise_mapping.name=none")
    module, tokens = as_module(generator), torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10]] * N)
    layer = module.get_submodule("body.layers.0")
    h = c = torch.zeros(N, 128, dtype=torch.float64)
    word = torch.zeros_like(h)
    for t in range(8):
        assert noise.inputs is not None
        x = torch.cat([word, noise.inputs[:, t]], dim=1)
        gates = x @ layer.weight_ih_l0.T + layer.bias_ih_l0  # type: ignore[union-attr, operator]
        gates = gates + h @ layer.weight_hh_l0.T + layer.bias_hh_l0  # type: ignore[union-attr, operator]
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        word = generator.embed(tokens[:, t])
    assert torch.allclose(h, generator.parallel(tokens, noise)[:, -1], atol=1e-12)


def by_step(norm: torch.nn.LayerNorm, rows: torch.Tensor) -> torch.Tensor:
    """A layer norm whose mean and variance are those of all rows of a sentence."""
    centred = rows - rows.mean((1, 2), keepdim=True)
    scale = (centred.square().mean((1, 2), keepdim=True) + norm.eps).sqrt()
    return centred / scale * norm.weight + norm.bias


@pytest.mark.parametrize("published", ["Santoro et al. 2018", "Nie et al. 2019"])
def test_a_relational_memory_step_is_the_papers(published: str) -> None:
    """One step over [M; u] whole, as the paper writes it; only the slots' rows are kept."""
    relgan = published == "Nie et al. 2019"
    settings = ("generator.scale=qkv", "generator.norm=step") if relgan else ()
    generator, noise = make(*BODIES["memory"], "noise_mapping.name=none", *settings)
    body: Any = as_module(generator).get_submodule("body")
    size, norm = (21, by_step) if relgan else (7, lambda layer, rows: layer(rows))
    assert noise.inputs is not None
    x = torch.cat([torch.zeros_like(noise.inputs[:, 0]), noise.inputs[:, 0]], dim=1)
    memory = torch.eye(3, 14, dtype=torch.float64).expand(N, -1, -1)
    rows = torch.cat([memory, body.enter(x).unsqueeze(1)], dim=1)  # (N, slots + 1, D)
    q, k, v = norm(body.qkv_norm, body.qkv(rows)).chunk(3, dim=-1)
    heads = []
    for head in range(2):
        part = slice(7 * head, 7 * head + 7)
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / size**0.5).softmax(-1)
        heads.append(weights @ v[..., part])
    rows = norm(body.norm, rows + torch.cat(heads, dim=-1))
    rows = norm(body.mlp_norm, rows + body.mlp(rows))[:, :3]
    gates = body.gate_input(body.enter(x)).unsqueeze(1) + body.gate_memory(memory.tanh())
    i, f = gates[..., :14].sigmoid(), (gates[..., 14:] + 1).sigmoid()
    expected = (i * rows.tanh() + f * memory).flatten(1)
    state = generator.begin(noise, differentiable=False)
    assert torch.allclose(generator.step(state, None), expected, atol=1e-12)


@pytest.mark.parametrize("next_input", INPUTS)
@pytest.mark.parametrize("body", ["transformer dropout", "lstm", "gru", "memory"])
def test_a_fork_goes_its_own_way(next_input: str, body: str) -> None:
    generator, noise = make(f"next_input.name={next_input}", *BODIES[body])
    tokens = torch.randint(V, (N, 8), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, 3:] = (tokens[:, 3:] + 1) % V
    rows = torch.tensor([4, 0, 0, 2])
    state = generator.begin(noise, differentiable=False)
    last = None
    for t in range(4):  # the fourth word is the first that differs
        generator.step(state, last)
        last = generator.embed(tokens[:, t])
    fork = generator.fork(state, rows)
    for t in range(3, 7):
        here = generator.step(state, generator.embed(tokens[:, t]))
        there = generator.step(fork, generator.embed(other[rows, t]))
    assert torch.allclose(here, generator.parallel(tokens, noise)[:, 7], atol=1e-10)
    assert torch.allclose(there, generator.parallel(other, noise)[rows, 7], atol=1e-10)


def test_cold_decoding_takes_the_likeliest_tokens() -> None:
    """Without noise in the generator, all that differs between sentences is the sampling's."""
    settings = (*BODIES["lstm"], "next_input.name=last_token", "noise_mapping.name=none")
    generator = build_generator(tiny(*settings), registry(), V)
    spec = SamplingSpec(registry().strategy("sampling", "categorical")(tiny().sampling))
    cold, warm = (
        sample_tokens(generator, spec, 50, stream(2, "noise"), t).unique(dim=0) for t in (1e-6, 1.0)
    )
    assert len(cold) == 1
    assert len(warm) > 40


def test_drawing_stops_when_all_sentences_have_ended_and_draws_the_same() -> None:
    settings = (*BODIES["lstm"], "next_input.name=last_token", "noise_mapping.name=none")
    generator = build_generator(tiny(*settings, "model.length=40"), registry(), V)
    with torch.no_grad():
        generator.head.bias[END] = 2.0
    spec = SamplingSpec(registry().strategy("sampling", "categorical")(tiny().sampling))
    step, steps = generator.step, []

    def counted(state: Any, last: torch.Tensor | None) -> torch.Tensor:
        steps.append(last)
        return step(state, last)

    generator.step = counted  # type: ignore[method-assign]
    drawn = sample_tokens(generator, spec, 9, stream(2, "noise"))
    longest = int(drawn.eq(END).int().argmax(1).max()) + 1
    assert longest < 30
    assert len(steps) < longest + 4 <= 40
    rng = stream(2, "noise")
    noise = generator.draw_noise(9, rng)
    seeds = spec.sampling.randomness(1, rng)
    whole, _ = unroll(generator, spec, noise, seeds, differentiable=False)
    seen = visible(drawn)
    assert torch.equal(drawn[seen], whole[seen])
    assert len(steps) >= 40 + longest
