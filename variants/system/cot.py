"""CoT, cooperative training (Lu et al. 2019): a mediator M learns the even mixture of real and
generated text with likelihood, and G minimises an estimate of its divergence from the mixture.

    M:  min  -1/2 E_{x ~ real} log M(x) - 1/2 E_{x ~ G} log M(x)
    G:  min  E_{x ~ G} sum_t sum_v G(v | x_<t) (log G(v | x_<t) - log M(v | x_<t))

The inner sum over all tokens is exact, so there is neither a score function nor a discriminator.
The gradient through the prefixes is omitted, as in the paper. If M is optimal, G's loss is KL(G ||
(real + G) / 2), one of the two terms of the Jensen-Shannon divergence. Positions after the end
token count in neither loss.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.nn.likelihood import expectation
from core.training.players import evaluation_mode
from core.training.scoring import token_nll
from core.types import Phase, Progress, Shape, visible
from variants.system import Layers, SmallSize, Steps, WholeSystem, language_model


class CoT(WholeSystem):
    """Cooperative training: a mediator of real and generated text instead of a discriminator."""

    class Config(StrategyConfig):
        """Sizes of G and of the mediator, both LSTMs, and their steps in an update."""

        width: SmallSize = 32
        layers: Layers = 1
        mediator_width: Annotated[int, Field(ge=1, le=8192), Search(32, 512, log=True)] = 64
        mediator_layers: Layers = 1
        mediator_dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0
        mediator_steps: Annotated[int, Field(ge=1, le=1000), Search(1, 5)] = 1
        generator_steps: Steps = 1

    paper = "Lu et al. 2019"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width, config.layers)
        self.mediator = language_model(
            shape, config.mediator_width, config.mediator_layers, config.mediator_dropout
        )
        self.others = {"mediator": self.mediator}

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The mediator, then G, in every update."""
        return (
            Phase("mediator", self.mediator_loss, self.config.mediator_steps),
            Phase("generator", self.generator_loss, self.config.generator_steps),
        )

    def mediator_loss(self, context: StepContext) -> Tensor:
        """Negative log-likelihood of a batch of each kind of text, in nats per sentence."""
        tokens = torch.cat([context.next_batch(), self.sample(context).tokens])
        nll = token_nll(self.mediator, tokens, context.rng("mediator"), visible(tokens)).sum(1)
        real_nll, drawn_nll = nll.detach().chunk(2)
        context.metrics["train/mediator_real_nats"] = float(real_nll.mean())
        context.metrics["train/mediator_drawn_nats"] = float(drawn_nll.mean())
        return nll.mean()

    def generator_loss(self, context: StepContext) -> Tensor:
        """Divergence from the mediator in nats per sentence, exact at each sampled prefix."""
        draw = self.sample_with_grad(context)
        with torch.no_grad(), evaluation_mode(self.mediator):
            noise = self.mediator.draw_noise(len(draw.tokens), context.rng("mediator"))
            mediated = self.mediator.parallel(draw.tokens, noise).flatten(0, 1)  # (N S, E)

        def divergence(log_g: Tensor, places: Tensor) -> Tensor:
            return log_g - self.mediator.head(mediated[places]).log_softmax(-1)

        seen = visible(draw.tokens)
        return expectation(draw.hidden, self.generator.head, seen, divergence)
