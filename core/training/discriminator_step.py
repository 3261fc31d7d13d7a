"""Train the discriminator: its objective on real and generated sentences, plus a penalty."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from core.interfaces import Discriminator
from core.nn.discriminator_input import HardTokens
from core.training.optimisation import optimise
from core.training.players import Adversary
from core.training.rollout import TOGETHER, sample
from core.training.scoring import score
from core.training.state import TrainingState
from core.types import DiscriminatorInput, Embedded


def draw_fakes(state: TrainingState, count: int) -> Iterator[DiscriminatorInput]:
    """`count` batches of generated sentences: those of G's step if they are shared. Else G does not
    change between them, so one rollout draws as many as memory has room for.
    """
    if state.shared is not None:
        yield from itertools.repeat(state.shared[1], count)
        return
    spec = state.adversary.plan.drawn(state.sampling_spec())
    generator, rng = state.players.generator, state.streams["noise"]
    size, parts = state.batch_size, state.micro_batches.count
    if state.config.train.reuse_fakes:
        spec = replace(spec, given=state.prefixes(1))
        fake = sample(generator, spec, size, rng, parts).d_input
        yield from itertools.repeat(fake, count)
        return
    room = max(1, TOGETHER // (size * generator.head.out_features))
    while count > 0:
        now = min(room, count)
        spec = replace(spec, given=state.prefixes(now))
        yield from sample(generator, spec, now * size, rng, now * parts).d_input.chunk(now)
        count -= now


def discriminator_step(state: TrainingState, fake: DiscriminatorInput) -> float:
    """Train D once on the next real and these generated sentences (N each); the loss."""
    adversary = state.adversary
    real = state.next_real()
    random = adversary.penalty.draw(state.batch_size, state.streams["penalty"])
    state.last_seen = real, fake
    if state.replay is not None and isinstance(fake, HardTokens):
        fake = state.replay.exchange(fake, state.streams["replay"])
    parts: list[tuple[float, tuple[Tensor, ...]]] = []  # read after the step: a GPU need not wait
    discriminator = state.noisy_discriminator()

    def losses() -> Iterator[Tensor]:
        for real_part, fake_part, drawn, fraction in state.micro_batches.pairs(real, fake, random):
            table = discriminator.embedding
            embedded = Embedded.of(real_part, table), Embedded.of(fake_part, table)
            loss, means = _discriminator_loss(adversary, discriminator, *embedded, drawn)
            parts.append((fraction, tuple(mean.detach() for mean in means)))
            yield loss * fraction

    loss = optimise(state, "discriminator", losses())
    real_score, fake_score, penalty = (
        sum(fraction * float(means[place]) for fraction, means in parts) for place in range(3)
    )
    state.metrics["train/penalty"] = penalty
    if not adversary.objective.uses_features:  # features are not scores
        state.metrics["train/real_score"] = real_score
        state.metrics["train/fake_score"] = fake_score
    return loss


def _discriminator_loss(
    adversary: Adversary,
    discriminator: Discriminator,
    real: Embedded,
    fake: Embedded,
    drawn: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """D's loss, and its parts: mean scores of real and generated sentences, penalty. The penalty is
    on D without instance noise.
    """
    objective = adversary.objective
    scores = score(discriminator, real + fake, objective.uses_features).chunk(2)
    penalty = adversary.penalty(adversary.discriminator, real, fake, drawn)
    means = (*(part.mean() for part in scores), penalty)
    return objective.discriminator(*scores) + penalty, means
