"""Train the discriminator: its objective on real and generated sentences, plus a penalty."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from torch import Tensor

from core.interfaces import Discriminator, NextTokenDiscriminator, PerScoreObjective
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import expected_loss
from core.training.optimisation import optimise
from core.training.players import Adversary
from core.training.rollout import TOGETHER, sample, split
from core.training.scoring import log_p_of, log_ratio, score
from core.training.state import TrainingState
from core.types import Draw, Embedded


def draw_fakes(state: TrainingState, count: int) -> Iterator[Draw]:
    """`count` batches of generated sentences for steps of D. G does not change between them, so
    where D draws sentences of its own, one rollout draws as many as memory has room for.
    """
    if state.of_generator_step is not None:
        yield from itertools.repeat(state.of_generator_step[1], count)
        return
    plan = state.adversary.plan
    spec = plan.training_spec(state.sampling_spec())
    generator, rng = state.players.generator, state.streams["noise"]
    size, parts = state.batch_size, state.micro_batches.count
    if state.config.train.reuse_fakes:
        spec = replace(spec, given=state.prefixes(1))
        yield from itertools.repeat(sample(generator, spec, size, rng, parts), count)
        return
    room = max(1, TOGETHER // (size * generator.head.out_features))
    if plan.drawn_by == "discriminator":
        room = 1  # G's step needs the noise of its sentences, which `split` does not keep
    while count > 0:
        now = min(room, count)
        spec = replace(spec, given=state.prefixes(now))
        drawn = sample(generator, spec, now * size, rng, now * parts)
        yield from [drawn] if now == 1 else split(drawn, now)
        count -= now


def discriminator_step(state: TrainingState, draw: Draw) -> float:
    """Train D once on the next real and these generated sentences (N each); the loss."""
    adversary, fake = state.adversary, draw.d_input
    real = state.next_real()
    mixing = adversary.penalty.draw(state.batch_size, state.streams["penalty"])
    state.last_seen = real, fake
    if adversary.plan.drawn_by == "discriminator":
        state.of_discriminator_step = draw
    if state.replay is not None and isinstance(fake, HardTokens):
        fake = state.replay.exchange(fake, state.streams["replay"])
    parts: list[tuple[float, tuple[Tensor, ...]]] = []  # read after the step: a GPU need not wait
    discriminator = state.noisy_discriminator()

    def losses() -> Iterator[Tensor]:
        for real_part, fake_part, mixed, fraction in state.micro_batches.pairs(real, fake, mixing):
            table = discriminator.embedding
            embedded = Embedded.of(real_part, table), Embedded.of(fake_part, table)
            if adversary.plan.expected:  # the batch is in one part (`StepPlan.fault`)
                tokens = cast(HardTokens, real_part).tokens
                loss, *means = _expected_loss(state, discriminator, embedded, tokens, draw)
            else:
                loss, *means = _drawn_loss(adversary, discriminator, embedded)
            # The penalty is on D without instance noise.
            penalty = adversary.penalty(adversary.discriminator, *embedded, mixed)
            parts.append((fraction, tuple(mean.detach() for mean in (*means, penalty))))
            yield (loss + penalty) * fraction

    loss = optimise(state, "discriminator", losses())
    real_score, fake_score, penalty = (
        sum(fraction * float(means[place]) for fraction, means in parts) for place in range(3)
    )
    state.metrics["train/penalty"] = penalty
    if not adversary.objective.uses_features:  # features are not scores
        state.metrics["train/real_score"] = real_score
        state.metrics["train/fake_score"] = fake_score
    return loss


def _drawn_loss(
    adversary: Adversary, discriminator: Discriminator, embedded: tuple[Embedded, Embedded]
) -> tuple[Tensor, Tensor, Tensor]:
    """D's loss on real sentences and those that were drawn, and the mean score of each kind."""
    objective = adversary.objective
    scores = score(discriminator, embedded[0] + embedded[1], objective.uses_features).chunk(2)
    return objective.discriminator(*scores), scores[0].mean(), scores[1].mean()


def _expected_loss(
    state: TrainingState,
    discriminator: Discriminator,
    embedded: tuple[Embedded, Embedded],
    real_tokens: Tensor,
    draw: Draw,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_drawn_loss`, but D's loss on generated text is its expectation over the token that G
    draws next, after each drawn prefix. Losses are summed over steps and divided by N. The real
    tokens are (N, S).
    """
    objective = cast(PerScoreObjective, state.adversary.objective)
    D = cast(NextTokenDiscriminator, discriminator)
    plan, head = state.adversary.plan, state.players.generator.head
    both, N = embedded[0] + embedded[1], len(embedded[0].values)
    queries, values = D.queries(both.values)  # (2N, S, E), (2N, S)
    if plan.log_ratio:
        log_p = log_p_of(state.players.generator, real_tokens, state.streams["noise"])
        real = log_ratio(D, (queries[:N], values[:N]), real_tokens, log_p)
    else:
        real = (queries[:N] * D.output_embedding[real_tokens]).sum(-1) + values[:N]
    mask, real_loss = embedded[0].mask, objective.real_loss(real)
    real_score = real.mean() if mask is None else real[mask].mean()
    scores = queries[N:], values[N:], D.output_embedding
    fake_loss, fake_score = expected_loss(
        draw.hidden, head, embedded[1].mask, scores, objective.fake_loss, plan.log_ratio
    )
    real_loss = real_loss if mask is None else real_loss * mask
    return real_loss.sum() / N + fake_loss, real_score, fake_score
