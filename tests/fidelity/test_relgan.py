"""RelGAN against weilinie/RelGAN (TensorFlow; `real/real_gan/real_train.py`, `utils/models/`)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from core.config import Config, override, parse
from core.training.loop import Trainer, train_phase
from core.training.players import as_module, build
from core.training.state import TrainingState
from core.types import Phase
from experiments.loading import load
from tests.fidelity import small as tools
from tests.product import N, RandomBatches, V
from variants import registry

PRETRAINING, STEPS = 6, 4


def small(*settings: str) -> Config:
    """The system at sizes that train in a blink."""
    return parse(
        override(
            load("relgan").tables(),
            ["model.length=5", "train.batch_size=4", "generator.width=4", "generator.head_size=2",
             "discriminator.representations=2", "discriminator.width=2", "discriminator.hidden=2",
             "discriminator.filters=[2,2,2,2]", "schedule.generator_epochs=0",
             f"schedule.generator_updates={PRETRAINING}", "schedule.n_d=1",
             f"train.updates={PRETRAINING + STEPS}", *settings],
        ),
        registry(),
    )  # fmt: skip


def betas(config: Config) -> list[float]:
    """The inverse temperature of every update."""
    players = build(config, registry(), V, torch.device("cpu"))
    state = TrainingState(config, players, RandomBatches(), torch.device("cpu"))  # type: ignore[arg-type]
    found = []
    trainer, phases = Trainer(state, lambda values, step: None), Trainer._phases

    def watched(self: Trainer) -> list[object]:
        found.append(1 / state.sampling_spec().temperature)
        return list(phases(self))

    trainer._phases = watched.__get__(trainer)  # type: ignore[method-assign]
    trainer.train(lambda: None, lambda: None)
    return found


@pytest.mark.fidelity
def test_beta_starts_with_adversarial_training_and_follows_its_steps() -> None:
    """`get_fixed_temperature`: beta_max^(i / N) with N = 5,000 at adversarial step i, whatever the
    number of steps; 2,000 of them (`coco_relgan.py`) end at 100^(1999 / 5000) = 6.3.
    """
    config = load("relgan")
    assert config.temperature is not None
    assert config.temperature.steps == 5000  # type: ignore[attr-defined]
    assert config.temperature.beta_max**0.4 == pytest.approx(6.31, abs=0.01)  # type: ignore[attr-defined]
    expected = [1.0] * PRETRAINING + [100 ** (i / 5000) for i in range(STEPS)]
    assert betas(small()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.fidelity
def test_attention_is_scaled_by_the_size_of_queries_keys_and_values() -> None:
    """`RelationalMemory._multihead_attention`: q is multiplied by qkv_size^(-1/2), qkv_size = 3 x
    256, and tf.contrib's layer norm takes mean and variance over the rows of a step together.
    """
    players = build(load("relgan"), registry(), V, torch.device("cpu"))
    body: Any = as_module(players.generator).get_submodule("body")
    assert body.scale == pytest.approx((3 * 256) ** -0.5)
    rows = body._normalised(body.norm, torch.tensor([[[1.0], [3.0]]]).expand(1, 2, 512))
    assert rows[0, :, 0].tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)  # by row: 0, 0


@pytest.mark.fidelity
def test_beta_can_follow_a_share_of_the_adversarial_phase() -> None:
    """Runs that are too short for the published steps get the same range of beta."""
    table = 'temperature={name="exponential", beta_max=6.31}'
    found = betas(small(table, "train.progress=adversarial"))
    assert found == pytest.approx([1.0] * PRETRAINING + [6.31 ** (i / STEPS) for i in range(STEPS)])


@pytest.mark.fidelity
def test_150_epochs_of_likelihood_then_five_steps_of_d_for_one_of_g() -> None:
    """`coco_relgan.py`: npre_epochs 150, dsteps 5, gsteps 1, no pretraining of D."""
    schedule = tools.state(small("schedule.generator_epochs=150", "schedule.generator_updates=0",
                                 "schedule.n_d=5")).players.schedule  # fmt: skip
    assert load("relgan").schedule == schedule.config  # type: ignore[attr-defined]
    assert tools.share(schedule, per_epoch=2, updates=310) == {
        ("generator", "likelihood"): 300,
        ("discriminator", "adversarial"): 50,
        ("generator", "adversarial"): 10,
    }


@pytest.mark.fidelity
def test_every_representation_of_a_pair_is_a_classification_of_its_own() -> None:
    """`get_losses`, RSGAN: the cross-entropy of r - f, of f - r for G, over batch and
    representations, before any mean of scores.
    """
    run = tools.state(small("discriminator.dropout=0"))
    context, prepared, _ = tools.prepared(run)
    r, f = context.real_scores(), context.scores()
    assert r is not None
    assert r.values.shape == f.values.shape == (N, 2)
    ones = torch.ones(N, 2)
    of_g = binary_cross_entropy_with_logits(f.values - r.values, ones)
    assert torch.allclose(run.adversary.estimator.loss(context, prepared), of_g)
    of_d = binary_cross_entropy_with_logits(r.values - f.values, ones)
    assert torch.allclose(run.adversary.objective.discriminator(r, f), of_d)


@pytest.mark.fidelity
def test_d_has_dropout_in_steps_of_g() -> None:
    """`rmc_vanilla.discriminator`: tf.nn.dropout with keep probability .75 in every call."""
    assert load("relgan").discriminator.dropout == 0.25  # type: ignore[union-attr]
    run, found = tools.state(small("discriminator.dropout=0.5", "discriminator.hidden=8")), []
    estimator = run.adversary.estimator
    loss = estimator.loss

    def watched(context: Any, prepared: Any) -> torch.Tensor:
        found.extend(context.scores().values.detach() for _ in range(2))
        return loss(context, prepared)

    estimator.loss = watched  # type: ignore[method-assign]
    train_phase(run, Phase("generator", "adversarial"))
    assert not torch.equal(*found)
