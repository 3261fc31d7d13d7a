"""SeqGAN: rewards of completions, both losses, its clip, and the share of each phase."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.training.loop import train_phase
from core.training.rollout import completions
from core.types import Phase, visible
from tests.fidelity.small import CNN, norms, prepared, share, small, state


@pytest.mark.fidelity
@pytest.mark.parametrize(
    ("system", "adversarial"),
    [("seqgan", 5 / 64), ("oracle_seqgan", 5 / 64), ("maligan", 5.0), ("rankgan", 5 / 16)],
)
def test_gradients_of_g_are_clipped_at_5_and_those_of_d_are_not(
    system: str, adversarial: float
) -> None:
    """LantaoYu/SeqGAN, generator.py: grad_clip 5.0 for the mean likelihood and for rewards, which
    are a sum over 64 sentences; discriminator.py: compute_gradients and apply_gradients. The same
    in desire2020/RankGAN, whose rewards add up to 1 as ours add up to about 4, and in Texygen's
    MaliGAN, whose weighted sum is our mean.
    """
    config = small(system, *CNN)
    for phase, limit in (
        (Phase("generator", "likelihood", pretraining=True), 5.0),
        (Phase("generator", "adversarial"), adversarial),
    ):
        before, after = norms(state(config), phase)
        assert before > 5
        assert after == pytest.approx(limit, rel=1e-4)
    before, after = norms(state(config), Phase("discriminator", "adversarial"))
    assert before > 5
    assert after == pytest.approx(before, rel=1e-4)


@pytest.mark.fidelity
def test_each_phase_has_its_share() -> None:
    """sequence_gan.py: 120 epochs of likelihood, then 50 times 3 epochs of D, each of which reads
    every real sentence once, then both. 15 batches of D for a step of G, not epochs, are declared.
    """
    schedule = state(small("seqgan", *CNN)).players.schedule
    stages = {("generator", "likelihood"): 1200}
    assert share(schedule, 10, 1200) == stages
    stages["discriminator", "adversarial"] = 1500
    assert share(schedule, 10, 2700) == stages
    stages |= {("discriminator", "adversarial"): 1650, ("generator", "adversarial"): 10}
    assert share(schedule, 10, 2710) == stages


@pytest.mark.fidelity
@pytest.mark.parametrize("system", ["seqgan", "oracle_seqgan"])
def test_an_action_is_worth_ds_mean_probability_of_its_completions(system: str) -> None:
    """rollout.py, get_reward: the softmax output "real" for completions of 1 to S - 1 tokens, then
    for the sentence itself, without a baseline.
    """
    config = small(system, *CNN, "estimator.completions=2", "train.generator_lr=1e-12")
    found = prepared(state(config))
    context: Any = found[0]
    values, D = found[1][0], context.discriminator.eval()
    context.rng.set_state(found[2])
    draw = context.draw
    continued = completions(context.generator, context.spec, draw, 2, context.rng)
    for t in range(draw.tokens.shape[1]):
        ends = continued[t].flatten(0, 1) if t < len(continued) else draw.tokens
        x = D.embedding[ends]
        if system == "seqgan":  # the oracle's sentences have no end
            x = x * visible(ends)[..., None]
        expected = D.score(x, None).sigmoid().view(len(values), -1).mean(1)
        assert torch.allclose(values[:, t], expected, atol=1e-6)


@pytest.mark.fidelity
@pytest.mark.parametrize("system", ["seqgan", "oracle_seqgan", "maligan", "rankgan"])
def test_g_is_trained_on_the_log_probability_of_each_token_times_its_reward(system: str) -> None:
    """generator.py: g_loss = - sum over tokens of log p times reward; the mean over the batch in
    place of the sum is declared. The same in Texygen's MaliGAN and in desire2020/RankGAN.
    """
    few = [] if system == "maligan" else ["estimator.completions=1"]
    run = state(small(system, *CNN, *few, "train.generator_lr=1e-12"))
    found = prepared(run)
    context: Any = found[0]
    draw, values = context.draw, found[1][0]
    log_p = run.players.generator.head(draw.hidden.detach()).detach().log_softmax(-1)
    log_p = log_p.gather(2, draw.tokens[..., None])[..., 0]
    rewards = (values if values.dim() == 2 else values[:, None]).expand_as(log_p)
    counted = torch.ones_like(log_p) if system == "oracle_seqgan" else visible(draw.tokens)
    expected = -(rewards * log_p * counted).sum() / len(log_p)
    assert run.metrics["train/generator_loss"] == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


@pytest.mark.fidelity
@pytest.mark.parametrize("system", ["seqgan", "oracle_seqgan", "maligan"])
def test_d_is_a_classifier(system: str) -> None:
    """discriminator.py: cross-entropy of real and generated sentences; the sum of two means in
    place of one mean over both is declared. The same in Texygen's MaliGAN.
    """
    off = ("discriminator.dropout=0.0", "train.discriminator_lr=1e-12")
    run = state(small(system, *CNN, *off))
    train_phase(run, Phase("discriminator", "adversarial"))
    assert run.last_seen is not None
    p_real, p_fake = (
        run.adversary.discriminator(each).detach().sigmoid() for each in run.last_seen
    )
    expected = -p_real.log().mean() - (1 - p_fake).log().mean()
    assert run.metrics["train/discriminator_loss"] == pytest.approx(float(expected), rel=1e-4)
