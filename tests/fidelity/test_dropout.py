"""Whether D has dropout while it scores for G, and that every D of these systems has some."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from core.interfaces import EstimatorContext
from core.nn.regularisation import Dropout
from core.training.loop import train_phase
from core.training.rollout import sample
from core.types import Phase
from tests.fidelity.small import CNN, SYSTEM_CNN, small, state
from tests.product import N
from tests.variants.system.small import made, sentences, stage


def rewards_twice(config: Any) -> tuple[Tensor, Tensor]:
    """The rewards of the same sentences, asked for twice in one step of G."""
    run = state(config)
    estimator, found = run.adversary.estimator, []
    prepare = estimator.prepare

    def watched(context: EstimatorContext) -> tuple[Tensor, ...]:
        found.extend(context.rewards().per_sentence() for _ in range(2))
        return prepare(context)

    estimator.prepare = watched  # type: ignore[method-assign]
    train_phase(run, Phase("generator", "adversarial"))
    assert [part for part in run.adversary.discriminator.modules() if part.training]  # type: ignore[attr-defined]
    return found[0], found[1]


@pytest.mark.fidelity
@pytest.mark.parametrize("system", ["seqgan", "oracle_seqgan", "maligan", "rankgan"])
def test_rewards_are_without_dropout(system: str) -> None:
    """LantaoYu/SeqGAN, rollout.py, and desire2020/RankGAN, rollout.py: dropout_keep_prob 1.0 while
    rewards are computed, .75 while D is trained. Texygen's MaliGAN has no dropout at all.
    """
    config = small(system, *CNN, "discriminator.dropout=0.5", "discriminator.spectral_norm=true")
    first, again = rewards_twice(config)
    assert torch.equal(first, again)


@pytest.mark.fidelity
def test_scratchgan_takes_its_rewards_with_dropout() -> None:
    """deepmind-research/scratchgan, experiment.py: one call of the discriminator, with its default
    is_training=True, gives the logits of D's loss and of G's.
    """
    first, again = rewards_twice(small("scratchgan", "discriminator.dropout=0.5"))
    assert not torch.equal(first, again)


@pytest.mark.fidelity
@pytest.mark.parametrize("name", ["leakgan", "sentigan"])
def test_action_values_of_whole_systems_are_without_dropout(name: str) -> None:
    """CR-Gjx/LeakGAN, Main.py: keep probability 1.0 in `get_reward`; Nrgeup/SentiGAN, generator.py,
    the same, where D is trained with .75.
    """
    config = small(name, *SYSTEM_CNN, "system.dropout=0.5", "system.completions=1")
    run = state(config)
    system: Any = run.players.schedule
    context = stage(system, torch.randint(4, 12, (N, 5)))
    draw = sample(system.generator, context.spec, N, context.rng("noise"))
    assert torch.equal(
        system.mc_q_values(draw, 1, context)[:, -1], system.mc_q_values(draw, 1, context)[:, -1]
    )
    real = draw.tokens
    assert not torch.equal(system.score(real), system.score(real))  # D's own loss has it


@pytest.mark.fidelity
def test_cots_mediator_scores_without_dropout() -> None:
    """desire2020/CoT, cot.py: `dropout_on` before the step of the mediator, then `dropout_off`."""
    losses = []
    for rate in ("0.0", "0.5"):
        system: Any = state(small("cot", f"system.mediator_dropout={rate}")).players.schedule
        losses.append(system.generator_loss(stage(system, sentences())).item())
    assert losses[0] == losses[1]


@pytest.mark.fidelity
def test_nothing_is_left_in_evaluation_mode() -> None:
    """After G's step D is trained with dropout again."""
    run = state(small("seqgan", *CNN))
    train_phase(run, Phase("generator", "adversarial"))
    discriminator: Any = run.adversary.discriminator
    assert all(part.training for part in discriminator.modules())
    assert any(isinstance(part, Dropout) and part.rate for part in discriminator.modules())
    assert made("leakgan").discriminator.training
