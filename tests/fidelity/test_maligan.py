"""MaliGAN: weights in proportion to D's density ratio, and Texygen's small D."""

from __future__ import annotations

import pytest
import torch

from core.nn.regularisation import weight_decays
from core.training.players import as_module
from tests.fidelity.small import prepared, share, small, state
from tests.product import N


@pytest.mark.fidelity
def test_sentences_are_weighted_with_the_normalised_density_ratio() -> None:
    """Che et al. 2017, equation 9: w_i = r_i / sum_j r_j with r = D / (1 - D), less the mean. The
    weights are a softmax, so that dropout in D would move all of them.
    """
    context, (advantages,), _ = prepared(state(small("maligan")))
    p = context.detached_scores().per_sentence().sigmoid()
    ratio = p / (1 - p)
    assert torch.allclose(advantages, N * ratio / ratio.sum() - 1, atol=1e-5)


@pytest.mark.fidelity
def test_d_is_texygens() -> None:
    """geek-ai/Texygen, models/maligan_basic/Maligan.py: kernels 2 and 3 with 100 and 200 filters,
    tokens of 32 numbers, l2_reg_lambda .2 on the last layer; the dropout it names is not passed on.
    """
    run = state(small("maligan"))
    D = as_module(run.adversary.discriminator)
    kernels = {tuple(layer.weight.shape) for layer in D.responses.convolutions}  # type: ignore[union-attr]
    assert kernels == {(100, 32, 2), (200, 32, 3)}
    assert set(weight_decays(D).values()) == {0.2}
    assert D.dropout.rate == 0  # type: ignore[union-attr]


@pytest.mark.fidelity
def test_each_phase_has_its_share() -> None:
    """Maligan.py, train_real: 80 epochs of likelihood, 80 times 3 batches of D, then 100 rounds of
    one step of G and 15 times 3 batches of D.
    """
    config = small("maligan")
    schedule = state(config).players.schedule
    assert share(schedule, 125, 80 * 125 + 240) == {
        ("generator", "likelihood"): 80 * 125,
        ("discriminator", "adversarial"): 80 * 3,
    }
    assert share(schedule, 125, config.train.updates or 0) == {
        ("generator", "likelihood"): 80 * 125,
        ("discriminator", "adversarial"): 80 * 3 + 100 * 45,
        ("generator", "adversarial"): 100,
    }
