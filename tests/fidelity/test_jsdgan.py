"""JSDGAN: the divergence in closed form (Li et al. 2019)."""

from __future__ import annotations

import math

import pytest
import torch

import variants.system.jsdgan as module
from core.types import Progress
from experiments.loading import load
from tests.variants.system.small import N, made, sentences, stage


@pytest.mark.fidelity
@pytest.mark.parametrize("ratio", [1e-6, 0.5, 1.0, 3.0])
def test_a_sentence_weighs_as_much_as_q_and_the_optimal_discriminator_say(
    monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    """D(x) = P(x) / (P(x) + Q(x)) without a network; the gradient is that of Q(x) log(1 - D(x)) on
    the log-likelihood of each training sentence, here with Q(x) = ratio P(x), P(x) = 1 / n. The
    divergence is 0 at Q = P, and log 2 if G has none of the sentences.
    """
    nll = torch.full((N, 1), -math.log(ratio / N), dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr(module, "token_nll", lambda *_: nll)
    system = made("jsdgan")
    loss = system.generator_loss(stage(system, sentences()))
    (gradient,) = torch.autograd.grad(loss, [nll])
    Q, D = ratio / N, 1 / (1 + ratio)
    assert -gradient == pytest.approx(torch.full((N, 1), Q * math.log(1 - D) / 2), rel=1e-5)
    if ratio == 1:
        assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    if ratio < 1e-5:
        assert float(loss.detach()) == pytest.approx(math.log(2), rel=1e-4)


@pytest.mark.fidelity
def test_there_is_no_discriminator_and_likelihood_only_first() -> None:
    """The divergence is all that G is trained with after its pretraining."""
    system = made("jsdgan")
    assert not system.others
    assert load("jsdgan").system.generator_updates == 1000  # type: ignore[union-attr]
    stages = [system.phases(Progress(update, {}, 2)) for update in range(4)]  # 2 of likelihood
    losses = [phase.loss for phases in stages for phase in phases]
    assert [phase.reset_optimiser for (phase,) in stages] == [False, False, True, False]
    assert losses == [system.likelihood_loss] * 2 + [system.generator_loss] * 2
