"""The kinds of steps: each computes a loss and hands it to `optimise`, one micro-batch at a time.

- `discriminator_step`: D's objective on real and generated sentences, plus a penalty;
- `generator_step`: the estimator makes a loss of D's scores of a draw;
- `likelihood_step`: G on real text (teacher forcing);
- `system_step`: a player of a whole system, on a loss that the system brings.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from core.interfaces import Discriminator, Estimator, StepContext
from core.nn.discriminator_input import lengths, longest_of, movable
from core.nn.likelihood import entropy, negative_log_likelihood
from core.nn.noise import rows_of
from core.training.generator_batch import GeneratorBatch
from core.training.optimisation import optimise
from core.training.players import Adversary, as_module, frozen_parameters
from core.training.rollout import TOGETHER, sample, sample_with_grad, split
from core.training.scoring import score
from core.training.state import TrainingState
from core.types import PAD, DiscriminatorInput, Embedded, Phase

Parts = Iterator[tuple[GeneratorBatch, slice]]  # micro-batches and their rows of the batch


# The discriminator.


def draw_fakes(state: TrainingState, count: int) -> Iterator[DiscriminatorInput]:
    """`count` batches of generated sentences. G does not change between them, so one rollout draws
    as many as memory has room for.
    """
    spec, generator, rng = state.sampling_spec(), state.players.generator, state.streams["noise"]
    size, parts = state.batch_size, state.micro_batches.count
    if state.config.train.reuse_fakes:
        fake = sample(generator, spec, size, rng, parts).d_input
        yield from itertools.repeat(fake, count)
        return
    room = max(1, TOGETHER // (size * generator.head.out_features))
    while count > 0:
        now = min(room, count)
        yield from sample(generator, spec, now * size, rng, now * parts).d_input.chunk(now)
        count -= now


def discriminator_step(state: TrainingState, fake: DiscriminatorInput) -> float:
    """Train D once on the next real and these generated sentences (N each); the loss."""
    adversary = state.adversary
    real = state.next_real()
    random = adversary.penalty.draw(state.batch_size, state.streams["penalty"])
    state.last_seen = real, fake
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


# The generator.


def generator_step(state: TrainingState) -> float:
    """Train G once against D; the loss."""
    adversary, spec = state.adversary, state.sampling_spec()
    parts = state.micro_batches.count
    draw = sample_with_grad(
        state.players.generator, spec, state.batch_size, state.streams["noise"], parts
    )
    batch = GeneratorBatch(
        draw,
        state.last_real(),
        state.players.generator,
        spec,
        state.noisy_discriminator(),
        adversary.objective,
        state.streams["estimator"],
        parts,
    )
    with frozen_parameters(as_module(adversary.discriminator)):
        return optimise(state, "generator", _generator_losses(state, batch))


def _generator_losses(state: TrainingState, batch: GeneratorBatch) -> Iterator[Tensor]:
    """G's loss, one micro-batch at a time."""
    estimator, bonus = state.adversary.estimator, state.config.train.entropy
    prepared = estimator.prepare(batch)
    if state.micro_batches.count == 1:
        yield _estimator_loss(batch, estimator, prepared, bonus)
        return
    parts = _recomputed_parts if batch.draw.recompute is not None else _parts_of_hidden_states
    for part, rows in parts(state, batch):
        fraction = (rows.stop - rows.start) / len(batch.draw.tokens)
        yield _estimator_loss(part, estimator, [each[rows] for each in prepared], bonus) * fraction


def _recomputed_parts(state: TrainingState, batch: GeneratorBatch) -> Parts:
    """Each part is computed again with a gradient of its own."""
    draw = batch.draw
    assert draw.recompute is not None
    length = lengths(draw.d_input) if movable(draw.d_input) else None
    rows = state.micro_batches.pieces(length, padded=True)
    yield from zip(batch.split(map(draw.recompute, rows), rows), rows, strict=True)


def _parts_of_hidden_states(state: TrainingState, batch: GeneratorBatch) -> Parts:
    """The rollout's graph cannot be cut: the gradients of all parts are collected at the hidden
    states, and passed through the rollout once, after the last part's backward pass.
    """
    draw = batch.draw
    leaf = draw.hidden.detach().requires_grad_(True)
    whole = replace(draw, hidden=leaf, d_input=draw.d_input_from(leaf))
    rows = state.micro_batches.pieces(None, padded=True)
    draws = split(whole, state.micro_batches.count)
    yield from zip(batch.split(draws, rows), rows, strict=True)
    assert leaf.grad is not None
    draw.hidden.backward(leaf.grad)  # type: ignore[no-untyped-call]


def _estimator_loss(
    batch: GeneratorBatch, estimator: Estimator, prepared: Sequence[Tensor], bonus: float
) -> Tensor:
    """The estimator's loss, less `bonus` times the entropy of G's next-token distributions."""
    loss = estimator.loss(batch, prepared)
    if bonus:
        token_entropy = entropy(batch.draw.hidden, batch.generator.head)  # (N, S)
        loss = loss - bonus * batch.masked(token_entropy).sum(1).mean()
    return loss


def likelihood_step(state: TrainingState) -> float:
    """Train G once on the next real sentences; the mean negative log-likelihood of a token."""
    tokens = state.next_tokens()
    tokens = tokens[:, : longest_of(tokens)]  # columns that are padding everywhere cost nothing
    generator, count = state.players.generator, (tokens != PAD).sum()
    noise = generator.draw_noise(len(tokens), state.streams["noise"])

    def losses() -> Iterator[Tensor]:
        for rows in state.micro_batches.pieces(None, padded=True):
            part = tokens[rows]
            hidden = generator.parallel(part, rows_of(noise, rows))
            token_nll = negative_log_likelihood(hidden, generator.head, part)  # 0 at padding
            yield token_nll.sum() / count

    return optimise(state, "generator", losses())


# Whole systems.


def system_step(state: TrainingState, phase: Phase) -> float:
    """Train a player of a whole system once; the loss."""
    assert callable(phase.loss)
    context = StepContext(
        state.batch_size,
        state.device,
        state.sampling_spec(),
        state.next_tokens,
        state.streams.__getitem__,
        state.metrics,
        state.batches.sentences,
    )

    def losses() -> Iterator[Tensor]:  # computed after the last step's gradients are cleared
        yield phase.loss(context)  # type: ignore[operator]

    return optimise(state, phase.player, losses())
