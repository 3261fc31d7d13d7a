"""CatGAN (Liu et al. 2020), its form for one category: G's children compete, the fittest goes on.

D sees Gumbel-softmax tokens of temperature tau = beta^-p, p the spent fraction of the run. With
r and f D's scores of real and drawn text, every update

    vary:    each child is G after one step, one child for each pair of an objective of G,
             relativistic average  E sp(-(f - E r)) + E sp(r - E f)  or
             relativistic          E sp(-(f - r)),
             and of a temperature, beta^-p, beta^-(p + s) or beta^-(p - s)
    select:  G becomes the child of the largest fitness F = F_q + lambda F_d:
             quality F_q = -(E f - E r)^2, diversity F_d = -log p of a child's own words, their mean
    D:       n_D steps of the relativistic average objective, words drawn by the new G at the
             temperature that it was chosen with

The paper's generator is told a category and D compares real and drawn text category by category.
Our corpora have no labels, so there is one category, and the evolution is what remains (its general
form). Objectives, temperatures, one parent and the shape of the fitness follow the authors' code.

Not settled for us by paper or code, so our choice: the fitness of both levels, temperatures within
an objective and then objectives, is the same one, so the best of all children is taken. Other
deviations: F_q is of means over sentences where the code has sums, so lambda weighs more; a child's
fitness is of one batch, not eight; each child keeps moments of Adam of its own from update to
update, where the code hands on the parent's; each child reads a batch of its own; beta is 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import SamplingSpec, StepContext
from core.moves import imitate
from core.nn.convolution import Counts
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import log_likelihood
from core.training.rollout import sample, sample_with_grad
from core.types import DiscriminatorInput, Phase, Progress, Scores, Shape, visible
from variants.discriminator.multi_cnn import MultiCNNDiscriminator
from variants.generator.relational_memory import RelationalMemoryGenerator
from variants.next_input.last_token import LastToken
from variants.noise_mapping.none import NoMapping
from variants.objective.relativistic import Relativistic
from variants.objective.relativistic_average import RelativisticAverage
from variants.sampling.gumbel_softmax import GumbelSoftmax

BETA = 100.0  # inverse temperature at the end
AVERAGE = RelativisticAverage(RelativisticAverage.Config())
OBJECTIVES = (AVERAGE, Relativistic(Relativistic.Config()))
SHIFTS = (0, 1, -1)


class CatGAN:
    """The fittest of several children of G, by objective and temperature, is the next G."""

    class Config(StrategyConfig):
        """Sizes, RelGAN's; pretraining in updates, and what an update of the game does."""

        name: Literal["catgan"] = "catgan"
        width: Annotated[int, Field(ge=1, le=8192), Search(16, 256, log=True)] = 32
        heads: Annotated[int, Field(ge=1, le=64), Search(1, 8)] = 2
        head_size: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 256
        discriminator_width: Annotated[int, Field(ge=1, le=8192)] = 64
        representations: Annotated[int, Field(ge=1, le=8192)] = 64
        kernels: Counts = (2, 3, 4, 5)
        filters: Counts = (300, 300, 300, 300)
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25  # D's
        generator_updates: Annotated[int, Field(ge=0)] = 1000  # of likelihood at first
        child_lr: Annotated[float, Field(gt=0, lt=1), Search(1e-5, 1e-2, log=True)] = (
            1e-4  # children's
        )
        temperature_step: Annotated[float, Field(ge=0, le=1)] = 0.0005  # s, a share of the run
        diversity: Annotated[float, Field(ge=0), Search(1e-4, 1, log=True)] = 0.001  # lambda
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 3

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Liu et al. 2020"
    adversarial = False
    sampling = GumbelSoftmax(GumbelSoftmax.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = self._writer(shape)
        self.discriminator = MultiCNNDiscriminator(
            MultiCNNDiscriminator.Config(
                width=config.discriminator_width,
                representations=config.representations,
                kernels=config.kernels,
                filters=config.filters,
                dropout=config.dropout,
            ),
            shape,
        )
        self.kinds = [(objective, shift) for objective in OBJECTIVES for shift in SHIFTS]
        self.children = [self._writer(shape) for _ in self.kinds]
        named = {f"child_{i}": child for i, child in enumerate(self.children)}
        self.others = {"discriminator": self.discriminator, **named}
        self._losses = [0.0] * len(self.kinds)  # of this update
        self._chosen = 0

    def _writer(self, shape: Shape) -> RelationalMemoryGenerator:
        config = self.config
        return RelationalMemoryGenerator(
            RelationalMemoryGenerator.Config(
                width=config.width, heads=config.heads, head_size=config.head_size
            ),
            shape,
            LastToken(LastToken.Config(first="start"), shape, config.width),
            NoMapping(NoMapping.Config(), shape, config.width),
        )

    @staticmethod
    def temperature(progress: float) -> float:
        """From 1 down to 1 / beta."""
        return float(BETA**-progress)

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then every child, the choice, and D."""
        if progress.update < self.config.generator_updates:
            return (Phase("generator", self.imitate),)
        children = [
            Phase(f"child_{i}", partial(self.vary, i), lr=self.config.child_lr)
            for i in range(len(self.kinds))
        ]
        return (
            *children,
            Phase("discriminator", self.select),
            Phase("discriminator", self.judge, self.config.n_d - 1),
        )

    def imitate(self, context: StepContext) -> Tensor:
        """Likelihood of real text in nats a word."""
        return imitate(self.generator, context)

    def vary(self, number: int, context: StepContext) -> Tensor:
        """The loss of a child, which begins as its parent."""
        child, (objective, _) = self.children[number], self.kinds[number]
        child.load_state_dict(self.generator.state_dict())
        with torch.no_grad():
            real = self._scores(self._real(context))
        drawing = self._drawing(number, context)
        draw = sample_with_grad(child, drawing, context.batch_size, context.rng("noise"))
        loss = objective.generator(self._scores(draw.d_input), real)
        self._losses[number] = float(loss.detach())
        return loss

    def select(self, context: StepContext) -> Tensor:
        """The fittest child is G; then the first of D's steps."""
        self.discriminator.eval()
        with torch.no_grad():
            real = self._scores(self._real(context)).mean()
            fitness = [self.fitness(i, real, context) for i in range(len(self.kinds))]
        self.discriminator.train()
        self._chosen = fitness.index(max(fitness))
        self.generator.load_state_dict(self.children[self._chosen].state_dict())
        context.metrics["train/chosen"] = float(self._chosen)
        context.metrics["train/fitness"] = fitness[self._chosen]
        context.metrics["train/generator_loss"] = self._losses[self._chosen]
        return self.judge(context)

    def fitness(self, number: int, real: Tensor, context: StepContext) -> float:
        """F of a child; `real` is the mean of D's scores of real text."""
        child, drawing = self.children[number], self._drawing(number, context)
        draw = sample(child, drawing, context.batch_size, context.rng("fitness"))
        quality = -(self._scores(draw.d_input).mean() - real).square()
        assert draw.noise is not None
        hidden = child.parallel(draw.tokens, draw.noise)
        shown = visible(draw.tokens)
        nats = -log_likelihood(hidden, child.head, draw.tokens) * shown
        return float(quality + self.config.diversity * nats.sum() / shown.sum())

    def judge(self, context: StepContext) -> Tensor:
        """D's loss."""
        drawing = self._drawing(self._chosen, context)
        draw = sample(self.generator, drawing, context.batch_size, context.rng("noise"))
        r, f = self._scores(self._real(context)), self._scores(draw.d_input)
        context.metrics["train/real_score"] = float(r.mean().detach())
        context.metrics["train/fake_score"] = float(f.mean().detach())
        return AVERAGE.discriminator(r, f)

    def _drawing(self, number: int, context: StepContext) -> SamplingSpec:
        shift = self.kinds[number][1] * self.config.temperature_step
        warmth = context.sampling.temperature * self.temperature(shift)
        return replace(context.sampling, temperature=warmth, mask_after_eos=True)

    def _scores(self, words: DiscriminatorInput) -> Scores:
        """A score (N,) a sentence, the mean of its representations'."""
        return Scores(self.discriminator(words).mean(1))

    @staticmethod
    def _real(context: StepContext) -> DiscriminatorInput:
        tokens = context.next_batch()
        return HardTokens(tokens, visible(tokens))
