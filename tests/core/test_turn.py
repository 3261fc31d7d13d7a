"""What an estimator may ask: likelihoods, entropies, scores of what is visible, completions."""

from __future__ import annotations

import pytest
import torch

from core.interfaces import SamplingSpec
from core.nn.likelihood import entropy, log_likelihood
from core.seeding import generator as stream
from core.training.players import as_module, build_generator
from core.training.rollout import completions, sample
from core.types import PAD, Scores
from tests.conftest import tiny
from variants import registry

V, N, S = 13, 4, 8


def test_likelihood_counts_padding_that_was_drawn() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(N, S, 3, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(3, V, dtype=torch.float64)
    tokens = torch.randint(V, (N, S))
    tokens[0, 2:] = PAD
    log_p = head(hidden).log_softmax(-1)
    plain = log_p.gather(-1, tokens[..., None])[..., 0]
    assert torch.allclose(log_likelihood(hidden, head, tokens), plain, atol=1e-12)
    plain = -(log_p.exp() * log_p).sum(-1)
    ours = entropy(hidden, head)
    assert torch.allclose(ours, plain, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(ours.sum(), [hidden, head.weight]),
        torch.autograd.grad(plain.sum(), [hidden, head.weight]),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-10)


def test_scores_of_steps_are_averaged_where_visible() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    scores = Scores(torch.tensor([[1.0, 3.0, 99.0], [5.0, 99.0, 99.0]]), mask)
    assert scores.per_sentence().tolist() == [2.0, 5.0]
    assert scores.mean() == 3.5
    assert scores.filled().tolist() == [[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]]
    other = Scores(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool))
    assert scores.minus(other).values.tolist() == [[0.0, 2.0, 1.0], [4.0, 4.0, 4.0]]
    twice = scores.select(torch.tensor([0, 0, 1, 1]))
    assert Scores.cat(twice.chunk(2)).values.tolist() == twice.values.tolist()


@pytest.mark.parametrize(
    "settings",
    [
        ("next_input.name=noise",),
        ("next_input.name=last_token",),
        ("next_input.name=fixed_token", "noise_mapping.name=none"),
        ("next_input.name=noise", "generator.attention=full"),
        ("generator.name=lstm", "generator.layers=2"),
        ("generator.name=gru", "next_input.name=last_token"),
    ],
)
def test_forks_go_on_as_if_they_were_the_only_ones(settings: tuple[str, ...]) -> None:
    """A forked rollout that is fed the same words gives the same hidden states."""
    generator = build_generator(tiny(*settings, f"model.length={S}"), registry(), V)
    as_module(generator).double()
    if "generator.attention=full" in settings:  # redraws its injected noise for each row
        as_module(generator).noise_blocks = torch.nn.ModuleList()
    torch.set_default_dtype(torch.float64)
    try:
        noise = generator.draw_noise(N, stream(0, "noise"))
    finally:
        torch.set_default_dtype(torch.float32)
    tokens = torch.randint(V, (N, S), generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([0, 0, 3, 1])
    with torch.no_grad():
        whole, state = generator.begin(noise, False), generator.begin(noise, False)
        last = None
        for t in range(S):
            if t == 3:
                state = generator.fork(state, rows)
            expected = generator.step(whole, last)
            given = last if t < 3 or last is None else last[rows]
            found = generator.step(state, given)
            assert torch.allclose(found, expected if t < 3 else expected[rows], atol=1e-12)
            last = generator.embed(tokens[:, t])


def test_completions_keep_their_prefix_and_follow_the_generator() -> None:
    config = tiny(f"model.length={S}", "next_input.name=last_token")
    generator = build_generator(config, registry(), V)
    with torch.no_grad():
        generator.head.weight.mul_(8)
    sampling = registry().strategy("sampling", "gumbel_softmax")(config.sampling)
    spec, rng = SamplingSpec(sampling), stream(0, "noise")
    draw = sample(generator, spec, N, rng)
    K = 3000
    found = completions(generator, spec, draw, K, rng)
    assert found.shape == (S - 1, N, K, S)
    for length, words in enumerate(found, start=1):
        assert (words[:, :, :length] == draw.tokens[:, None, :length]).all()
    assert draw.noise is not None
    with torch.no_grad():
        hidden = generator.parallel(draw.tokens, draw.noise)
        expected = generator.head(hidden[:, 4]).softmax(-1)  # of word 4 after words 0 to 3
    counts = torch.stack([torch.bincount(row, minlength=V) for row in found[3, :, :, 4]]) / K
    assert torch.allclose(counts, expected, atol=0.05)
    # The last word's law differs between sentences: forks stay with the sentence they came from.
    assert not torch.allclose(counts[0], counts[1], atol=0.05)
