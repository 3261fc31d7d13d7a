"""Train the generator: the estimator makes a loss of D's scores of a draw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

from torch import Tensor

from core.interfaces import Estimator
from core.nn.discriminator_input import lengths, movable
from core.nn.likelihood import expectation
from core.training.generator_batch import GeneratorBatch, plan_batch
from core.training.optimisation import optimise
from core.training.players import as_module, evaluation_mode, frozen_parameters
from core.training.rollout import drawn_again, sample_with_grad, split
from core.training.state import TrainingState

Parts = Iterator[tuple[GeneratorBatch, slice]]  # micro-batches and their rows of the batch


def generator_step(state: TrainingState) -> float:
    """Train G against D on one draw, as often as the estimator's plan says; the last loss."""
    adversary, parts = state.adversary, state.micro_batches.count
    spec, real = plan_batch(adversary.plan, state.sampling_spec(), state.last_tokens())
    if state.of_discriminator_step is None:
        draw = sample_with_grad(
            state.players.generator, spec, state.batch_size, state.streams["noise"], parts
        )
    else:
        draw = drawn_again(state.players.generator, spec, state.of_discriminator_step)
        state.of_discriminator_step = None  # a further step of G draws sentences of its own
    if adversary.plan.drawn_by == "generator":
        state.of_generator_step = real, draw
    batch = GeneratorBatch(
        draw=draw,
        real=real,
        generator=state.players.generator,
        spec=spec,
        discriminator=state.noisy_discriminator(),
        objective=adversary.objective,
        rng=state.streams["estimator"],
        micro_batches=parts,
        reference=adversary.reference,
        entropy_weight=state.config.train.entropy,
    )
    loss, discriminator = math.nan, as_module(adversary.discriminator)
    mode = evaluation_mode if adversary.estimator.discriminator_evaluates else nullcontext
    with frozen_parameters(discriminator), mode(discriminator):
        prepared = adversary.estimator.prepare(batch)
        for epoch in range(adversary.plan.epochs):
            if epoch and draw.recompute is None:
                again = drawn_again(batch.generator, spec, draw)
                batch = replace(batch, draw=again)
            loss = optimise(state, "generator", _generator_losses(state, batch, prepared))
    return loss


def estimator_loss(
    batch: GeneratorBatch, estimator: Estimator, prepared: Sequence[Tensor]
) -> Tensor:
    """The estimator's loss, less the entropy bonus unless that is included."""
    loss = estimator.loss(batch, prepared)
    if batch.entropy_weight and not estimator.adds_entropy:
        entropy = expectation(
            batch.draw.hidden, batch.generator.head, batch.mask, lambda log_p, _: -log_p
        )
        loss = loss - batch.entropy_weight * entropy
    return loss


def _generator_losses(
    state: TrainingState, batch: GeneratorBatch, prepared: Sequence[Tensor]
) -> Iterator[Tensor]:
    """G's loss, one micro-batch at a time."""
    estimator = state.adversary.estimator
    if state.micro_batches.count == 1:
        yield estimator_loss(batch, estimator, prepared)
        return
    parts = _recomputed_parts if batch.draw.recompute is not None else _parts_of_hidden_states
    for part, rows in parts(state, batch):
        fraction = (rows.stop - rows.start) / len(batch.draw.tokens)
        yield estimator_loss(part, estimator, [each[rows] for each in prepared]) * fraction


def _recomputed_parts(state: TrainingState, batch: GeneratorBatch) -> Parts:
    """Each part is computed again with a gradient of its own."""
    draw = batch.draw
    assert draw.recompute is not None
    length = lengths(draw.d_input) if movable(draw.d_input) else None
    rows = state.micro_batches.pieces(length)
    yield from zip(batch.split(map(draw.recompute, rows), rows), rows, strict=True)


def _parts_of_hidden_states(state: TrainingState, batch: GeneratorBatch) -> Parts:
    """The rollout's graph cannot be cut: the gradients of all parts are collected at the hidden
    states, and passed through the rollout once, after the last part's backward pass.
    """
    draw = batch.draw
    leaf = draw.hidden.detach().requires_grad_(True)
    whole = replace(draw, hidden=leaf, d_input=draw.d_input_from(leaf))
    rows = state.micro_batches.pieces(None)
    draws = split(whole, state.micro_batches.count)
    yield from zip(batch.split(draws, rows), rows, strict=True)
    assert leaf.grad is not None
    draw.hidden.backward(leaf.grad)  # type: ignore[no-untyped-call]
