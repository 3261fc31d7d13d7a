"""CoT, cooperative training (Lu et al. 2019): a mediator M learns the even mixture of real and
drawn text by likelihood, and G descends an estimate of its divergence from the mixture.

    M:  min  -1/2 E_{x ~ real} log M(x) - 1/2 E_{x ~ G} log M(x)
    G:  min  E_{x ~ G} sum_t sum_v G(v | x_<t) (log G(v | x_<t) - log M(v | x_<t))

The inner sum over all words is exact, so no score function and no discriminator is needed; the
gradient through the prefixes is left out, as in the paper. With M at its optimum G's loss is
KL(G || (real + G) / 2), half of the Jensen-Shannon divergence's two terms. Nothing stands behind an
end token: what was drawn there is left out of both losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.nn.likelihood import by_step, negative_log_likelihood
from core.training.rollout import sample, sample_with_grad
from core.types import PAD, Phase, Progress, Shape, visible
from variants.generator.lstm import language_model
from variants.sampling.categorical import Categorical


class CoT:
    """Cooperative training: a mediator of real and drawn text instead of a discriminator."""

    class Config(StrategyConfig):
        """Sizes of G and of the mediator, both LSTMs, and their steps an update."""

        name: Literal["cot"] = "cot"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        layers: Annotated[int, Field(ge=1, le=16)] = 1
        mediator_width: Annotated[int, Field(ge=1, le=8192), Search(32, 512, log=True)] = 64
        mediator_layers: Annotated[int, Field(ge=1, le=16)] = 1
        mediator_dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0
        mediator_steps: Annotated[int, Field(ge=1, le=1000), Search(1, 5)] = 1
        generator_steps: Annotated[int, Field(ge=1, le=1000)] = 1

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Lu et al. 2019"
    adversarial = False
    sampling = Categorical(Categorical.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.generator = language_model(shape, config.width, config.layers)
        self.mediator = language_model(
            shape, config.mediator_width, config.mediator_layers, config.mediator_dropout
        )
        self.others = {"mediator": self.mediator}
        self._phases = (
            Phase("mediator", self.mediate, config.mediator_steps),
            Phase("generator", self.cooperate, config.generator_steps),
        )

    @staticmethod
    def temperature(progress: float) -> float:
        """Words are drawn as they come."""
        return 1.0

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The mediator, then G, every update."""
        return self._phases

    def mediate(self, context: StepContext) -> Tensor:
        """The mediator's loss in nats a sentence: a batch of either kind of text."""
        real = context.next_batch()
        drawn = sample(
            self.generator, context.sampling, context.batch_size, context.rng("noise")
        ).tokens
        drawn = drawn.masked_fill(~visible(drawn), PAD)
        tokens = torch.cat([real, drawn])
        noise = self.mediator.draw_noise(len(tokens), context.rng("mediator"))
        hidden = self.mediator.parallel(tokens, noise)
        nats = negative_log_likelihood(hidden, self.mediator.head, tokens).sum(1)
        of_real, of_drawn = nats.detach().chunk(2)
        context.metrics["train/mediator_real_nats"] = float(of_real.mean())
        context.metrics["train/mediator_drawn_nats"] = float(of_drawn.mean())
        return nats.mean()

    def cooperate(self, context: StepContext) -> Tensor:
        """G's loss in nats a sentence, exact at each prefix of drawn words."""
        draw = sample_with_grad(
            self.generator, context.sampling, context.batch_size, context.rng("noise")
        )
        with torch.no_grad():
            noise = self.mediator.draw_noise(context.batch_size, context.rng("mediator"))
            mediated = self.mediator.parallel(draw.tokens, noise)

        def divergence(logits: Tensor, step: int) -> Tensor:
            log_g = logits.log_softmax(-1)
            with torch.no_grad():
                log_m = self.mediator.logits(mediated[:, step]).log_softmax(-1)
            return (log_g.exp() * (log_g - log_m)).sum(-1)

        nats = by_step(divergence, draw.hidden, self.generator.head)  # (N, S)
        return (nats * visible(draw.tokens)).sum(1).mean()
