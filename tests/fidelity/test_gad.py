"""GAD: what makes it generative adversarial distillation, at small sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.nn.discriminator_input import HardTokens
from core.training.discriminator_step import draw_fakes
from core.training.generator_batch import GeneratorBatch, plan_batch
from core.training.players import as_module, build
from core.training.rollout import sample_with_grad
from core.training.state import TrainingState
from core.types import Scores
from experiments.loading import load
from tests.core.test_steps import CPU, Batches, V
from tests.variants.test_group_relative import advance
from variants import registry

SMALL = (
    "model.length=8", "train.batch_size=8", "generator.width=8", "generator.hidden=8",
    "discriminator.width=8", "discriminator.hidden=8", "schedule.generator_epochs=0.2",
    "schedule.discriminator_epochs=0.1", "estimator.group=4",
)  # fmt: skip


def small(*overrides: str) -> TrainingState:
    config = load("gad", [*SMALL, *overrides])
    return TrainingState(config, build(config, registry(), V, CPU), Batches(), CPU)  # type: ignore[arg-type]


@pytest.mark.fidelity
def test_advantages_compare_completions_of_one_prompt() -> None:
    """Eight completions of one prompt, rewards D(G(x)) standardised among them, one step per draw:
    gad/scripts/train of microsoft/LMOps (adv_estimator=grpo, rollout.n=8, ppo_mini_batch_size equal
    to train_batch_size); Shao et al. 2024, section 4.1.2.
    """
    assert load("gad").tables()["estimator"]["group"] == 8
    state = advance(small(), 3)
    adversary, G = state.adversary, state.players.generator
    spec, real = plan_batch(adversary.plan, state.sampling_spec(), state.last_tokens())
    draw = sample_with_grad(G, spec, 8, state.streams["noise"])
    batch = GeneratorBatch(
        draw, real, G, spec, adversary.discriminator, adversary.objective,
        state.streams["estimator"], 1, adversary.reference,
    )  # fmt: skip
    scores = batch.detached_scores().values
    assert scores.shape == (8,)
    assert torch.equal(batch.rewards().values, scores)  # D's score itself
    advantages = adversary.estimator.prepare(batch)[0]
    for group in (slice(0, 4), slice(4, 8)):
        assert len({tuple(row) for row in draw.tokens[group, :3].tolist()}) == 1
        expected = (scores[group] - scores[group].mean()) / scores[group].std()
        assert torch.allclose(advantages[group], expected, atol=1e-2)
    drawn = adversary.estimator.prepare(batch)[1]
    assert adversary.plan.epochs == 1
    assert torch.equal(batch.log_probs(), drawn)  # the ratio of the only step on a draw is 1


@pytest.mark.fidelity
def test_d_compares_completions_with_the_real_one_of_their_prompt() -> None:
    """-log sigma(D(real) - D(generated)), both of one prompt: Ye et al. 2025 (Bradley-Terry)."""
    state = advance(small(), 3)
    (draw,) = draw_fakes(state, 1)
    fake = draw.d_input
    real = state.next_tokens()
    assert isinstance(fake, HardTokens)
    assert torch.equal(fake.tokens[:, :3], real[:, :3])
    assert not torch.equal(fake.tokens, real)
    r, f = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 0.0, -3.0])
    loss = state.adversary.objective.discriminator(Scores(r), Scores(f))
    assert torch.allclose(loss, -(r - f).sigmoid().log().mean())


@pytest.mark.fidelity
def test_the_discriminator_starts_as_the_pretrained_generator() -> None:
    """The critic, which is the discriminator, is loaded from the student: README and scripts of
    microsoft/LMOps, gad (`--model` and `--reward_model` are the same).
    """
    state = advance(small("train.discriminator_lr=1e-12"), 3)  # G's pretraining, one step of D's
    G, D = as_module(state.players.generator), as_module(state.adversary.discriminator)
    theirs, ours = dict(G.named_parameters()), dict(D.named_parameters())
    for name in ("embedding", "layers.0.weight_hh_l0", "layers.0.bias_ih_l0"):
        source = "embedding.weight" if name == "embedding" else f"body.{name}"
        assert torch.allclose(ours[name], theirs[source], atol=1e-9)
    tokens = Batches().batch(0)
    with torch.no_grad():
        noise = state.players.generator.draw_noise(8, state.streams["noise"])
        hidden = state.players.generator.parallel(torch.cat([tokens, tokens[:, :1]], 1), noise)
        expected = state.adversary.discriminator.out(hidden[:, -1]).squeeze(-1)  # type: ignore[attr-defined]
        found = state.adversary.discriminator(HardTokens(tokens))
    assert torch.allclose(found, expected, atol=1e-6)  # a scalar head on the student's last state


@pytest.mark.fidelity
def test_d_learns_from_the_completions_that_g_was_trained_on() -> None:
    """Stock verl, trainer/ppo/ray_trainer.py: one batch of completions, scored before either's
    step, for critic and actor. The authors' branch was not seen.
    """
    state = advance(small(), 3)
    prepare, seen = state.adversary.estimator.prepare, []

    def watched(context: Any) -> Any:
        steps = state.players.trainable["discriminator"].optimiser.state.values()
        seen.append((context, [int(each["step"]) for each in steps]))
        return prepare(context)

    state.adversary.estimator.prepare = watched  # type: ignore[method-assign]
    for _ in range(2):
        advance(state, 1)
        context, steps = seen[-1]
        assert state.last_seen is not None
        real, fake = state.last_seen
        assert fake is context.draw.d_input
        assert torch.equal(real.tokens, context.real.tokens)  # type: ignore[attr-defined]
        assert len({tuple(row) for row in real.tokens.tolist()}) == 2  # type: ignore[attr-defined]
        now = [int(each["step"]) for each in
               state.players.trainable["discriminator"].optimiser.state.values()]  # fmt: skip
        assert now == [step + 1 for step in steps]  # scored before D's step
    assert seen[0][0].draw.tokens is not seen[1][0].draw.tokens
    assert not torch.equal(seen[0][0].real.tokens, seen[1][0].real.tokens)
