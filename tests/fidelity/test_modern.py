"""modern: from scratch, and the reward of every next token counts, drawn or not."""

from __future__ import annotations

import pytest
import torch

from tests.fidelity.small import prepared, share, small, state


@pytest.mark.fidelity
def test_no_step_is_one_of_likelihood() -> None:
    """Ours."""
    assert share(state(small("modern")).players.schedule, 10, 5) == {
        ("discriminator", "adversarial"): 5,
        ("generator", "adversarial"): 5,
    }


@pytest.mark.fidelity
def test_the_first_gradient_is_that_of_the_expected_reward_of_the_next_token() -> None:
    """Sutton et al. 2001: sum over all tokens w of grad p(w | x_<t) r_t(w), with the rewards
    r = 2 sigma(D) - 1 - b log p, b the weight of the entropy.
    """
    run = state(small("modern", "discriminator.dropout=0.0"))
    context, parts, _ = prepared(run)
    queries, values = parts[:2]
    G, D = context.generator, context.discriminator
    hidden = context.draw.hidden.detach().requires_grad_(True)
    scores = queries @ D.embedding.detach().T + values.unsqueeze(-1)  # (N, S, V)
    log_p, bonus = G.head(hidden).log_softmax(-1), run.config.train.entropy
    rewards = 2 * scores.sigmoid() - 1 - bonus * log_p
    assert bonus > 0
    expected = -context.masked((log_p.exp() * rewards).sum(-1)).sum(1).mean()
    loss = run.adversary.estimator.loss(context, parts)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.isfinite(loss)
