"""RankGAN: rewards are ranks among real sentences, and D is trained on ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from core.training.loop import train_phase
from core.types import Phase
from tests.fidelity.small import CNN, prepared, share, small, state


@pytest.mark.fidelity
def test_a_reward_is_the_rank_among_a_few_real_sentences() -> None:
    """Lin et al. 2017, equations 4 to 7: for each reference u a softmax of gamma cos(s, u) over the
    sentence and the comparison set, then the mean over references. desire2020/RankGAN, rollout.py,
    and Texygen: G gets the softmax, not its logarithm.
    """
    run = state(small("rankgan", *CNN, "estimator.references=2", "estimator.completions=1"))
    context, (values,), before = prepared(run)
    context.rng.set_state(before)
    real = context.real_scores()
    assert real is not None
    picked = torch.randperm(len(real.values), generator=context.rng)[:2]
    of_real, of_fake = real.features, context.detached_scores().features
    assert of_real is not None
    assert of_fake is not None
    gamma = run.config.tables()["objective"]["gamma"]
    for fake, value in zip(of_fake, values[:, -1], strict=True):  # of whole sentences
        ranks = []
        for u, other in zip(
            of_real[picked], of_real[picked.flip(0)], strict=True
        ):  # u is not compared with itself
            ours, theirs = (
                torch.exp(gamma * cosine_similarity(s, u, dim=0)) for s in (fake, other)
            )
            ranks.append(ours / (ours + theirs))
        assert value == pytest.approx(float(torch.stack(ranks).mean()), abs=1e-5)
    assert (values > 0).all()


@pytest.mark.fidelity
def test_ds_loss_is_of_ranks_of_real_and_generated_sentences() -> None:
    """Lin et al. 2017, equation 8, and desire2020/RankGAN and Texygen: - E log R(real | U,
    generated) + E log R(generated | U, real), with U the other real sentences of the batch.
    """
    run = state(small("rankgan", *CNN, "train.discriminator_lr=1e-12"))
    train_phase(run, Phase("discriminator", "adversarial"))
    assert run.last_seen is not None
    D: Any = run.adversary.discriminator
    gamma = run.config.tables()["objective"]["gamma"]
    real, fake = (D.features(each.embed(D.embedding), each.mask).detach() for each in run.last_seen)

    def rank(s: Tensor, references: Iterable[int], others: Callable[[int], Tensor]) -> Tensor:
        ranks = []
        for u in references:
            x = torch.stack([s, *others(u)])
            p = (gamma * cosine_similarity(x, real[u], dim=1)).softmax(0)
            ranks.append(p[0])
        return torch.stack(ranks).mean()

    N = len(real)
    but = [[u for u in range(N) if u != i] for i in range(N)]
    of_real = [rank(real[i], but[i], lambda u: fake) for i in range(N)]
    of_fake = [rank(each, range(N), lambda u: real[but[u]]) for each in fake]
    expected = torch.stack(of_fake).log().mean() - torch.stack(of_real).log().mean()
    assert run.metrics["train/discriminator_loss"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.fidelity
def test_each_phase_has_its_share() -> None:
    """desire2020/RankGAN, sequence_gan.py: as in SeqGAN's code. 15 batches of D for a step of G,
    not epochs, are declared.
    """
    schedule = state(small("rankgan", *CNN)).players.schedule
    stages = {("generator", "likelihood"): 1200, ("discriminator", "adversarial"): 1500}
    assert share(schedule, 10, 2700) == stages
    stages |= {("discriminator", "adversarial"): 1650, ("generator", "adversarial"): 10}
    assert share(schedule, 10, 2710) == stages
