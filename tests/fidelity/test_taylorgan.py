"""TaylorGAN against MiuLab/TaylorGAN (`src/core/objectives/GAN/discrete.py`, README)."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from core.config import override, parse
from core.training.loop import Trainer
from core.training.players import build
from core.training.state import TrainingState
from core.types import Embedded, Shape
from experiments.loading import load
from tests.fidelity import small as tools
from tests.product import RandomBatches, V
from variants import registry
from variants.discriminator.deep_cnn import DeepCNNDiscriminator, pmi_vectors
from variants.estimator.taylor import Kernel
from variants.penalty.spectral import Spectral

CPU = torch.device("cpu")


def neighbours(table: torch.Tensor, bandwidth: float) -> float:
    """The share of the kernel's mass that is not on the token itself, in the mean of all tokens."""
    kernel = Kernel(table.detach(), bandwidth).rows(torch.arange(len(table)))
    return float(1 - (kernel.diagonal() / kernel.sum(1)).mean())


@pytest.mark.fidelity
def test_similar_tokens_are_credited_at_first_and_after_200_updates() -> None:
    """The kernel exp(-d^2 / 2h^2), h = .5, has mass off its diagonal: without it the estimator is
    REINFORCE. Adam moves a weight by up to its learning rate, so 10 updates at 2e-3 go as far as
    the 200 at 1e-4.
    """
    tables = load("taylorgan").tables()
    small = ["model.length=5", "train.batch_size=4", "generator.width=4", "generator.hidden=4",
             "discriminator.width=8", "discriminator.filters=[4,4,4,4]", "discriminator.hidden=4",
             "train.discriminator_lr=2e-3", "train.updates=10"]  # fmt: skip
    config = parse(override(tables, small), registry())
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, RandomBatches(), CPU)  # type: ignore[arg-type]
    table = state.adversary.discriminator.embedding
    bandwidth = tables["estimator"]["bandwidth"]
    assert neighbours(table, bandwidth) > 0.01
    before = table.detach().clone()
    Trainer(state, lambda values, step: None).train(lambda: None, lambda: None)
    assert not torch.equal(table, before)
    assert neighbours(table, bandwidth) > 0.01


@pytest.mark.fidelity
def test_the_penalty_is_on_spectral_norms_and_long_embeddings() -> None:
    """`SpectralRegularizer(0.07)`, half the sum of squared spectral norms of all kernels, and
    `EmbeddingRegularizer(0.2, max_norm=1)`, half the mean excess of squared norms over 1.
    """
    penalty = Spectral(Spectral.Config())
    assert load("taylorgan").penalty == Spectral.Config(name="spectral")
    sizes = DeepCNNDiscriminator.Config(width=8, filters=(4, 4, 6, 6), hidden=4)
    D = DeepCNNDiscriminator(sizes, Shape(5, V))
    with torch.no_grad():
        D.embedding *= torch.linspace(0.5, 2, V)[:, None]
    beyond = (torch.linspace(0.5, 2, V) ** 2 - 1).clamp(min=0).mean()
    weights = [*D.convolutions, D.hidden, D.out]
    norms = [torch.linalg.matrix_norm(each.weight.detach().flatten(1), 2) for each in weights]  # type: ignore[operator]
    expected = (0.07 * sum(norm**2 for norm in norms) + 0.2 * beyond) / 2
    nothing = Embedded(torch.zeros(1, 5, 8), None)
    found = penalty(D, nothing, nothing, None)
    assert float(found.detach()) == pytest.approx(float(expected), rel=0.02)


def test_tokens_after_the_end_change_no_score_of_the_deep_cnn() -> None:
    sizes = DeepCNNDiscriminator.Config(width=8, filters=(4, 4, 6, 6), hidden=4)
    D, mask = (
        DeepCNNDiscriminator(sizes, Shape(7, V)),
        torch.arange(7)[None] < torch.tensor([[4], [7]]),
    )
    x = torch.randn(2, 7, 8)
    scores = D.score(x, mask)
    other = D.score(torch.where(mask[..., None], x, torch.randn(2, 7, 8)), mask)
    assert torch.equal(scores, other)
    assert torch.allclose(scores[1:], D.score(x[1:], None))
    assert torch.allclose(scores[:1], D.score(x[:1, :4], None), atol=1e-6)


def test_embeddings_of_a_text_know_which_tokens_share_contexts() -> None:
    """4 and 5 stand between the same tokens, 6 does not; padding has no vector."""
    text = torch.tensor([[8, 4, 9, 2, 0], [8, 5, 9, 2, 0], [10, 6, 11, 2, 0]]).repeat(4, 1)
    vectors = pmi_vectors(text, 12, 16)
    similarity = vectors @ vectors.T
    assert float(similarity[4, 5]) == pytest.approx(1.0, abs=1e-4)
    assert float(similarity[4, 6]) < 0.5
    assert not vectors[0].any()


@pytest.mark.fidelity
def test_the_gradient_of_g_is_that_of_the_authors_estimator() -> None:
    """`TaylorEstimator.compute_loss` with `RKL`: the reward is D's score itself, its first-order
    change that of the token's vector; all tokens are weighted by the kernel over its mean under G.
    The entropy is not part of it.
    """
    sizes = ["generator.width=4", "generator.hidden=4", "discriminator.width=8",
             "discriminator.filters=[4,4,4,4]", "discriminator.hidden=4"]  # fmt: skip
    run = tools.state(tools.small("taylorgan", *sizes))
    names = {slot: run.config.tables()[slot]["name"] for slot in ("estimator", "objective")}
    assert names == {"estimator": "taylor", "objective": "reverse_kl"}
    context, (advantages, input_grad), _ = tools.prepared(run)
    mask, tokens = context.mask, context.draw.tokens
    assert mask is not None
    D, table = run.adversary.discriminator, run.adversary.discriminator.embedding.detach()
    x = table[tokens].requires_grad_(True)
    reward = D.score(x, mask)
    (dy,) = torch.autograd.grad(reward.sum(), x)
    expected = reward.detach() - reward.detach().mean()  # the average has seen this batch alone
    assert torch.allclose(advantages, expected, atol=1e-6)
    assert torch.allclose(input_grad, dy, atol=1e-6)
    first = dy @ table.T - (dy * x.detach()).sum(-1, keepdim=True)
    values = advantages[:, None, None] + first
    square = ((table[:, None] - table[None]) ** 2).sum(-1)
    kernel = (-0.5 * square / 0.5**2).exp()
    probs = context.generator.head(context.draw.hidden).softmax(-1)
    weights = one_hot(tokens, len(table)).float() @ kernel * values / (probs.detach() @ kernel)
    expected = -((weights * probs).sum(-1) * mask).sum(1).mean()
    found = run.adversary.estimator.loss(context, (advantages, input_grad))
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4, abs=1e-6)
    head = context.generator.head.bias
    ours, theirs = (torch.autograd.grad(each, [head], retain_graph=True)[0]
                    for each in (found, expected))  # fmt: skip
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.fidelity
def test_one_step_of_d_for_one_of_g_and_no_pretraining() -> None:
    """`GANTrainer.fit` with d_steps 1; the README's command has no likelihood."""
    schedule = tools.state(tools.small("taylorgan")).players.schedule
    steps = {("discriminator", "adversarial"): 7, ("generator", "adversarial"): 7}
    assert tools.share(schedule, per_epoch=2, updates=7) == steps


@pytest.mark.fidelity
def test_the_baseline_is_a_mean_of_rewards_with_those_of_the_batch() -> None:
    """functions.py, compute_advantage: `ExponentialMovingAverage(decay=0.9, zero_debias=True)`,
    applied before it is subtracted.
    """
    sizes = ["generator.width=4", "generator.hidden=4", "discriminator.width=8",
             "discriminator.filters=[4,4,4,4]", "discriminator.hidden=4"]  # fmt: skip
    baseline = tools.state(tools.small("taylorgan", *sizes)).adversary.estimator.baseline  # type: ignore[attr-defined]
    rewards = torch.tensor([[1.0, 3.0], [-4.0, 6.0], [8.0, 0.0]])
    means = rewards.mean(1).tolist()
    for n, batch in enumerate(rewards):
        weights = [0.9 ** (n - i) for i in range(n + 1)]
        expected = sum(w * m for w, m in zip(weights, means, strict=False)) / sum(weights)
        assert baseline.subtract(batch).tolist() == pytest.approx((batch - expected).tolist())
