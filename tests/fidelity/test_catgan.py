"""CatGAN against williamSYSU/TextGAN-PyTorch (`instructor/real_data/evogan_instructor.py`)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import variants.system.catgan as module
from core.config import override, parse
from core.training.loop import Trainer
from core.training.players import build
from core.training.state import TrainingState
from core.types import Progress
from experiments.loading import load
from tests.fidelity import small as tools
from tests.product import RandomBatches, V
from tests.variants.system.small import N, made, sentences, stage
from variants import registry

PRETRAINING, STEPS = 3, 3


@pytest.mark.fidelity
def test_temperatures_follow_the_steps_of_adversarial_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`get_evo_temp` with `get_fixed_temperature`: 100^((i + k) / 5000), k = 0, 1, -1, at step i of
    adversarial training; 2,000 of them end at 6.3, not at 100.
    """
    small = ["model.length=5", "train.batch_size=4", "system.width=4", "system.head_size=2",
             "system.discriminator_width=2", "system.representations=2",
             "system.filters=[2,2,2,2]", f"system.generator_updates={PRETRAINING}",
             f"train.updates={PRETRAINING + STEPS}"]  # fmt: skip
    config = parse(override(load("catgan").tables(), small), registry())
    players = build(config, registry(), V, torch.device("cpu"))
    betas, draw = [], module.sample_with_grad

    def watched(child: object, spec: object, *rest: object) -> object:
        betas.append(1 / spec.temperature)  # type: ignore[attr-defined]
        return draw(child, spec, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "sample_with_grad", watched)
    state = TrainingState(config, players, RandomBatches(), torch.device("cpu"))  # type: ignore[arg-type]
    Trainer(state, lambda values, step: None).train(lambda: None, lambda: None)
    steps = [max(0, i + k) for i in range(STEPS) for _ in range(2) for k in (0, 1, -1)]
    assert betas == pytest.approx([100 ** (step / 5000) for step in steps], rel=1e-12)


@pytest.mark.fidelity
def test_quality_is_a_sum_over_sentences_and_representations() -> None:
    """`evaluation("Ra")`: the sum of sigmoid(D(fake) - mean D(real)), plus .001 times a mean NLL. A
    mean would weigh as little as diversity.
    """
    assert load("catgan").system.diversity == 0.001  # type: ignore[union-attr]
    system = made("catgan")
    with torch.no_grad():
        for weight in system.discriminator.out.parameters():
            weight.zero_()  # every score is 0
        system.config = system.config.model_copy(update={"diversity": 0.0})
        found = system.fitness(0, torch.tensor(0.0), stage(system, sentences()))
    assert found == pytest.approx(N * system.config.representations / 2)


@pytest.mark.fidelity
def test_six_children_take_a_step_each_and_d_three() -> None:
    """`run_catgan.py`: "ragan rsgan" at three temperatures, ADV_g_step 1, ADV_d_step 3."""
    config = tools.small("catgan", "system.width=4", "system.head_size=2", *tools.SYSTEM_CNN)
    system: Any = tools.state(config).players.schedule
    kinds = [(type(objective).__name__, shift) for objective, shift in system.kinds]
    losses = ("RelativisticAverage", "Relativistic")
    assert kinds == [(loss, shift) for loss in losses for shift in (0, 1, -1)]
    start = config.system.generator_updates  # type: ignore[union-attr]
    steps: Counter[str] = Counter()
    for phase in system.phases(Progress(start, {}, 2)):
        steps[phase.player] += phase.repeats
    assert steps == {**{f"child_{i}": 1 for i in range(6)}, "discriminator": 3}
    (pretraining,) = system.phases(Progress(start - 1, {}, 2))
    assert pretraining.player == "generator"
    assert pretraining.loss == system.likelihood_loss
