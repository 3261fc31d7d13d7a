"""What an estimator may read in a generator step: the drawn sentences and D's scores of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.interfaces import Discriminator, Generator, Objective, SamplingSpec, StepPlan
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import log_likelihood
from core.training.rollout import completions, parallel_pass
from core.training.scoring import score
from core.types import DiscriminatorInput, Draw, Embedded, Scores


def plan_batch(
    plan: StepPlan, spec: SamplingSpec, real: Tensor
) -> tuple[SamplingSpec, DiscriminatorInput]:
    """How to draw as many sentences as the real ones (N, S), and whom each is compared with."""
    if plan.group > 1:
        real = real[torch.arange(len(real), device=real.device) // plan.group]
    given = real[:, : plan.prefix] if plan.prefix else None
    return replace(plan.training_spec(spec), given=given), HardTokens(real, spec.mask(real))


@dataclass(frozen=True)
class GeneratorBatch:
    """N drawn sentences that D scores, or some of them: the `core.interfaces.EstimatorContext` of a
    generator step. Its methods are described there.
    """

    draw: Draw
    real: DiscriminatorInput  # as many real sentences
    generator: Generator
    spec: SamplingSpec
    discriminator: Discriminator
    objective: Objective
    rng: torch.Generator  # the estimator's own random numbers
    micro_batches: int = 1  # that the batch is cut into to save memory
    reference: Generator | None = None  # G as it was when adversarial training began
    entropy_weight: float = 0.0  # see `EstimatorContext`

    @property
    def mask(self) -> Tensor | None:
        """See `EstimatorContext`."""
        return self.draw.d_input.mask

    def scores(self) -> Scores:
        """See `EstimatorContext`."""
        return self._score(self.draw.d_input)

    def log_probs(self) -> Tensor:
        """See `EstimatorContext`."""
        draw = self.draw
        return self.masked(log_likelihood(draw.hidden, self.generator.head, draw.tokens))

    def policy_gradient_loss(self, advantages: Tensor) -> Tensor:
        """See `EstimatorContext`."""
        if advantages.dim() == 1:
            advantages = advantages.unsqueeze(1)
        return -(advantages * self.log_probs()).sum(1).mean()

    def masked(self, values: Tensor) -> Tensor:
        """See `EstimatorContext`."""
        return values if self.mask is None else values * self.mask

    def detached_scores(self) -> Scores:
        """See `EstimatorContext`."""
        return self._detached(self.draw.d_input)

    def real_scores(self) -> Scores | None:
        """See `EstimatorContext`."""
        return self._detached(self.real) if self.objective.relativistic else None

    def rewards(self) -> Scores:
        """See `EstimatorContext`."""
        return self._rewards(self.detached_scores(), self.real_scores())

    def mc_q_values(self, count: int, real: Scores | None = None) -> Tensor:
        """See `EstimatorContext`."""
        continued = completions(self.generator, self.spec, self.draw, count, self.rng)
        N, S = self.draw.tokens.shape
        if real is None:
            real = self.real_scores()
        paired = real
        if real is not None and not self.objective.uses_features:  # one real sentence a completion
            each = torch.arange(N, device=real.values.device)
            paired = real.select(each.repeat_interleave(count))
        parts = self.micro_batches * count if self.micro_batches > 1 else 1  # of the same size
        values = []
        for completed in continued:  # (N, count, S)
            tokens = completed.reshape(N * count, S)
            scores = self._detached(HardTokens(tokens, self.spec.mask(tokens)), parts)
            values.append(self._rewards(scores, paired).per_sentence().view(N, count).mean(1))
        return torch.stack(
            [*values, self._rewards(self.detached_scores(), real).per_sentence()], dim=1
        )

    def input_grad(self) -> tuple[Tensor, Tensor]:
        """See `EstimatorContext`."""
        real = self.real_scores()
        rewards: list[Tensor] = []
        gradients: list[Tensor] = []
        reals = [None] * self.micro_batches if real is None else real.chunk(self.micro_batches)
        for part, compared in zip(self.draw.d_input.chunk(self.micro_batches), reals, strict=True):
            x = part.embed(self.discriminator.embedding).detach().requires_grad_(True)
            scores = self._score_embedded(Embedded(x, part.mask))
            of_part = scores.per_sentence(self.objective.reward(scores, compared))
            gradients += torch.autograd.grad(of_part.sum(), x)
            rewards.append(of_part.detach())
        return torch.cat(rewards), torch.cat(gradients)

    def reference_log_probs(self) -> Tensor:
        """See `EstimatorContext`."""
        draw, G = self.draw, self.reference
        assert G is not None
        assert draw.noise is not None
        with torch.no_grad():
            hidden = parallel_pass(G, self.spec, draw.tokens, draw.noise)
            return self.masked(log_likelihood(hidden, G.head, draw.tokens))

    def split(self, draws: Iterable[Draw], pieces: Sequence[slice]) -> Iterator[GeneratorBatch]:
        """Parts of the batch one by one; `draws` are its own draw in these pieces."""
        rows = torch.arange(len(self.draw.tokens), device=self.draw.tokens.device)
        for part, piece in zip(draws, pieces, strict=True):
            real = self.real.take(rows[piece])
            assert real is not None  # real sentences carry no noise of a batch
            yield replace(self, draw=part, real=real, micro_batches=1)

    def _score(self, d_input: DiscriminatorInput) -> Scores:
        return self._score_embedded(Embedded.of(d_input, self.discriminator.embedding))

    def _score_embedded(self, embedded: Embedded) -> Scores:
        return score(self.discriminator, embedded, self.objective.uses_features)

    def _detached(self, d_input: DiscriminatorInput, parts: int | None = None) -> Scores:
        """Scores without gradient, one of `parts` at a time, by default one micro-batch."""
        with torch.no_grad():
            chunks = d_input.chunk(parts or self.micro_batches)
            return Scores.cat([self._score(part) for part in chunks])

    def _rewards(self, scores: Scores, real: Scores | None) -> Scores:
        with torch.no_grad():
            return replace(scores, values=self.objective.reward(scores, real))
