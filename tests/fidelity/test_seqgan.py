"""SeqGAN: rewards of completions, its clip, and the share of each phase."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.training.rollout import completions
from core.types import Phase, visible
from tests.fidelity.small import CNN, norms, prepared, share, small, state


@pytest.mark.fidelity
@pytest.mark.parametrize("system", ["seqgan", "oracle_seqgan", "maligan", "rankgan"])
def test_gradients_of_g_are_clipped_at_5(system: str) -> None:
    """LantaoYu/SeqGAN, generator.py: grad_clip 5.0 for likelihood and for rewards; the same in
    Texygen's MaliGAN and in desire2020/RankGAN.
    """
    for phase in (Phase("generator", "likelihood"), Phase("generator", "adversarial")):
        before, after = norms(state(small(system, *CNN)), phase)
        assert before > 5
        assert after == pytest.approx(5.0, rel=1e-4)


@pytest.mark.fidelity
def test_each_phase_has_its_share() -> None:
    """sequence_gan.py: 120 epochs of likelihood, then 50 times 3 epochs of D, each of which reads
    every real sentence once. 15 batches of D for a step of G, not epochs, are declared.
    """
    assert share(state(small("seqgan", *CNN)).players.schedule, 10, 2710) == {
        ("generator", "likelihood"): 1200,
        ("discriminator", "adversarial"): 1500 + 10 * 15,
        ("generator", "adversarial"): 10,
    }


@pytest.mark.fidelity
def test_an_action_is_worth_ds_mean_probability_of_its_completions() -> None:
    """rollout.py, get_reward: the softmax output "real" for completions of 1 to S - 1 tokens, then
    for the sentence itself, without a baseline.
    """
    config = small("seqgan", *CNN, "estimator.completions=2", "train.generator_lr=1e-12")
    found = prepared(state(config))
    context: Any = found[0]
    values, D = found[1][0], context.discriminator.eval()
    context.rng.set_state(found[2])
    draw = context.draw
    continued = completions(context.generator, context.sampling, draw, 2, context.rng)
    for t in range(draw.tokens.shape[1]):
        ends = continued[t].flatten(0, 1) if t < len(continued) else draw.tokens
        x = D.embedding[ends] * visible(ends)[..., None]
        expected = D.score(x, None).sigmoid().view(len(values), -1).mean(1)
        assert torch.allclose(values[:, t], expected, atol=1e-6)
