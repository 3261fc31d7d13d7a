"""CatGAN (Liu et al. 2020), its version for one category: an evolutionary GAN.

D sees Gumbel-softmax tokens of temperature tau = beta^-p, with p the progress so far. With r and f
D's scores of real and generated text, one for each of R representations, and r', f' their means
over representations, every update has three stages:

    variation:  one child of G for each pair of an objective,
                    relativistic average  E sp(-(f' - E r')) + E sp(r' - E f')  or
                    relativistic          E sp(-(f - r)),
                and of a temperature, beta^-p, beta^-(p + s) or beta^-(p - s);
                a child is G after one step on its objective
    selection:  G becomes the child with the largest fitness F = F_q + lambda F_d:
                quality F_q = sum sigma(f - E r), diversity F_d = mean -log p of the child's own
                tokens
    D:          n_D steps of the relativistic average objective; the new G samples at the
                temperature with which it was selected

p is i / N at step i of adversarial training, and s = 1 / N, with N = `steps`, 5,000 in the authors'
code; without `steps`, p is the progress of the run (`train.progress`) and s a setting.

Without `published`, as in earlier versions of this harness, F_q is -(E f - E r)^2 with D in
evaluation mode, all objectives compare means over representations, and each child reads a batch of
real text of its own.

The paper's generator is conditioned on a category, and D compares real and generated text category
by category. Our corpora have no labels, so there is one category: the paper's general form, EvoGAN
in the authors' code, which the rest follows.

Deviations: a child's fitness is that of one batch, not eight, so F_q is an eighth of theirs; D
reads other sentences of the new G than its fitness did; each child keeps its own Adam moments
between updates (the code passes on the parent's).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search
from core.interfaces import SamplingSpec, StepContext
from core.nn.convolution import Counts
from core.nn.likelihood import log_likelihood
from core.training.data_parallel import mean_over_ranks
from core.training.players import evaluation_mode
from core.training.rollout import sample, sample_with_grad
from core.types import DiscriminatorInput, Phase, Progress, Scores, Shape, visible
from variants.discriminator.multi_cnn import MultiCNNDiscriminator
from variants.generator.relational_memory import RelationalMemoryGenerator
from variants.objective.relativistic import Relativistic
from variants.objective.relativistic_average import RelativisticAverage
from variants.sampling.gumbel_softmax import GumbelSoftmax
from variants.system import (
    CNNSystem,
    SearchedSteps,
    Size,
    Updates,
    WholeSystem,
    log_scores,
    sizes_of_d,
    token_inputs,
    until_end,
)

AVERAGE = RelativisticAverage(RelativisticAverage.Config())
OBJECTIVES = (AVERAGE, Relativistic(Relativistic.Config()))
SHIFTS = (0, 1, -1)  # of the temperature's exponent, in units of s


class CatGAN(WholeSystem):
    """CatGAN: trains several children of G per update and keeps the fittest one."""

    class Config(CNNSystem.Config):
        """Sizes (RelGAN's); pretraining in updates, and the steps of an update."""

        width: Annotated[int, Field(ge=1, le=8192), Search(16, 256, log=True)] = 32
        heads: Annotated[int, Field(ge=1, le=64), Search(1, 8)] = 2
        head_size: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 256
        representations: Size = 64
        kernels: Counts = (2, 3, 4, 5)
        filters: Counts = (300, 300, 300, 300)
        generator_updates: Updates = 1000  # of likelihood first
        # Learning rate of the children.
        child_lr: Annotated[float, Field(gt=0, lt=1), Search(1e-5, 3e-2, log=True)] = 1e-4
        norm: Literal["row", "step"] = "row"  # of the memory
        beta_max: Annotated[float, Field(ge=1), Search(1, 1000, log=True)] = 100.0  # beta
        steps: Annotated[int, Field(ge=1)] | None = None  # N; None: the progress of the run
        # Fitness, pairs, real sentences and D's dropout as in the authors' code; see the module.
        published: bool = False
        temperature_step: Annotated[float, Field(ge=0, le=1)] = 0.0005  # s without N
        diversity: Annotated[float, Field(ge=0), Search(1e-4, 1, log=True)] = 0.001  # lambda
        n_d: SearchedSteps = 3

    paper = "Liu et al. 2020"
    sampling = GumbelSoftmax(GumbelSoftmax.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator: RelationalMemoryGenerator = self._new_generator(shape)
        self.discriminator = MultiCNNDiscriminator(
            MultiCNNDiscriminator.Config(
                representations=config.representations, **sizes_of_d(config)
            ),
            shape,
        )
        self.kinds = [(objective, shift) for objective in OBJECTIVES for shift in SHIFTS]
        self.children = [self._new_generator(shape) for _ in self.kinds]
        named = {f"child_{i}": child for i, child in enumerate(self.children)}
        self.others = {"discriminator": self.discriminator, **named}
        self._real = Scores(torch.zeros(()))  # D's scores of real sentences for all children
        self._losses = [0.0] * len(self.kinds)  # of this update
        self._selected = 0

    def _new_generator(self, shape: Shape) -> RelationalMemoryGenerator:
        config = self.config
        sizes = RelationalMemoryGenerator.Config(
            width=config.width, heads=config.heads, head_size=config.head_size, norm=config.norm
        )
        return RelationalMemoryGenerator(sizes, shape, *token_inputs(shape, config.width))

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood; then variation, selection with one step of D, and D's other steps."""
        if progress.update < self.config.generator_updates:
            return (Phase("generator", self.likelihood_loss, pretraining=True),)
        children = [
            Phase(f"child_{i}", partial(self.child_loss, i), lr=self.config.child_lr)
            for i in range(len(self.kinds))
        ]
        return (
            *children,
            Phase("discriminator", self.select),
            Phase("discriminator", self.discriminator_loss, self.config.n_d - 1),
        )

    def child_loss(self, number: int, context: StepContext) -> Tensor:
        """The loss of a child, which starts as a copy of its parent."""
        child, (objective, _) = self.children[number], self.kinds[number]
        child.load_state_dict(self.generator.state_dict())
        if number == 0 or not self.config.published:
            with torch.no_grad():
                self._real = self._scores(until_end(context.next_batch()))
        spec, real = self._spec(number, context), self._real
        draw = sample_with_grad(child, spec, context.batch_size, context.rng("noise"))
        fake = self._scores(draw.d_input)
        if objective is AVERAGE or not self.config.published:
            fake, real = _means(fake), _means(real)
        loss = objective.generator(fake, real)
        self._losses[number] = float(loss.detach())
        return loss

    def select(self, context: StepContext) -> Tensor:
        """Make the fittest child the generator; then D's loss."""
        mode = nullcontext if self.config.published else evaluation_mode
        with torch.no_grad(), mode(self.discriminator):
            real = self._scores(until_end(context.next_batch())).mean()
            fitness = [self.fitness(i, real, context) for i in range(len(self.kinds))]
        fitness = [mean_over_ranks(each) for each in fitness]  # one choice for all
        self._selected = fitness.index(max(fitness))
        self.generator.load_state_dict(self.children[self._selected].state_dict())
        context.metrics["train/chosen"] = float(self._selected)
        context.metrics["train/fitness"] = fitness[self._selected]
        context.metrics["train/generator_loss"] = self._losses[self._selected]
        return self.discriminator_loss(context)

    def fitness(self, number: int, real: Tensor, context: StepContext) -> float:
        """F of a child; `real` is the mean of D's scores of real text."""
        child, spec = self.children[number], self._spec(number, context)
        draw = sample(child, spec, context.batch_size, context.rng("fitness"))
        scores = self._scores(draw.d_input)
        quality = -(scores.mean() - real).square()
        if self.config.published:
            quality = (scores.values - real).sigmoid().sum()
        assert draw.noise is not None
        hidden = child.parallel(draw.tokens, draw.noise)
        mask = visible(draw.tokens)
        nll = -log_likelihood(hidden, child.head, draw.tokens) * mask
        return float(quality + self.config.diversity * nll.sum() / mask.sum())

    def discriminator_loss(self, context: StepContext) -> Tensor:
        """The relativistic average objective."""
        draw = self.sample(replace(context, spec=self._spec(self._selected, context)))
        real, fake = self._scores(until_end(context.next_batch())), self._scores(draw.d_input)
        log_scores(real.values, fake.values, context)
        return AVERAGE.discriminator(_means(real), _means(fake))

    def _spec(self, number: int, context: StepContext) -> SamplingSpec:
        """How a child's sentences are drawn: its temperature is beta^-(p + its shift)."""
        steps, shift = self.config.steps, self.kinds[number][1]
        if steps is None:
            exponent = context.progress + shift * self.config.temperature_step
        else:
            exponent = max(0, context.step + shift) / steps
        temperature = self.config.beta_max**-exponent
        return replace(context.spec, temperature=temperature, mask_after_eos=True)

    def _scores(self, d_input: DiscriminatorInput) -> Scores:
        """Scores (N, R) of the representations of each sentence."""
        return Scores(self.discriminator(d_input))


def _means(scores: Scores) -> Scores:
    """One score (N,) for each sentence, the mean over its representations."""
    return Scores(scores.per_sentence())
