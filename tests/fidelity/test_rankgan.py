"""RankGAN: rewards are log ranks among real sentences."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tests.fidelity.small import CNN, prepared, small, state


@pytest.mark.fidelity
def test_a_reward_is_the_log_rank_among_a_few_real_sentences() -> None:
    """Lin et al. 2017, equations 4 to 7: for each reference u a softmax of gamma cos(s, u) over the
    sentence and the comparison set, then the mean over references; G gets its logarithm.
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
        assert value == pytest.approx(float(torch.stack(ranks).mean().log()), abs=1e-4)
