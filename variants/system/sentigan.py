"""SentiGAN (Wang & Wan 2018): a generator is fined for what D does not take for real.

The paper has k generators, one for each sentiment, and one D of k + 1 classes, real text of each
sentiment and drawn text. With V_t the mean over K completions of the first t words of the fine
1 - D_i(x) (V_S the sentence's own):

    D:    min  - sum_i E_{x ~ real_i} log D_i(x) - E_{x ~ G} log D_{k+1}(x)
    G_i:  min  E_{x ~ G_i} sum_t G_i(x_t | x_<t) V_t

The gradient is that of the probabilities G_i(x_t | x_<t) themselves, V being a constant, so a word
of probability p is moved by p V_t grad log p: a fine on what G is sure of, where REINFORCE pays for
what it seldom tries.

Here k = 1: our corpora have no labels, so there is one class of real text and one of drawn text,
D_1 = sigmoid(score), and what is left of the paper is its penalty-based objective. Other
deviations: sentences are drawn without the paper's random first input; D is SeqGAN's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.moves import imitate, outlook, tell_apart
from core.nn.convolution import Counts
from core.nn.likelihood import log_likelihood
from core.training.rollout import sample_with_grad
from core.types import Phase, Progress, Shape, visible
from variants.discriminator.cnn import CNNDiscriminator
from variants.generator.lstm import language_model
from variants.sampling.categorical import Categorical

Updates = Annotated[int, Field(ge=0)]


class SentiGAN:
    """A penalty on the probabilities of words instead of a reward of their logarithms."""

    class Config(StrategyConfig):
        """Sizes of G and D; pretraining in updates, and the steps of an update."""

        name: Literal["sentigan"] = "sentigan"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        completions: Annotated[int, Field(ge=1, le=1024), Search(1, 16)] = 16
        discriminator_width: Annotated[int, Field(ge=1, le=8192)] = 64
        kernels: Counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        filters: Counts = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25  # D's
        generator_updates: Updates = 1000  # of likelihood at first
        discriminator_updates: Updates = 100  # of D, behind them
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 5

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Wang & Wan 2018"
    adversarial = False
    sampling = Categorical(Categorical.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width)
        self.discriminator = CNNDiscriminator(
            CNNDiscriminator.Config(
                width=config.discriminator_width,
                kernels=config.kernels,
                filters=config.filters,
                dropout=config.dropout,
            ),
            shape,
        )
        self.others = {"discriminator": self.discriminator}

    @staticmethod
    def temperature(progress: float) -> float:
        """Words are drawn as they come."""
        return 1.0

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then D alone, then n_D : 1."""
        config = self.config
        if progress.update < config.generator_updates:
            return (Phase("generator", self.imitate),)
        game = progress.update - config.generator_updates - config.discriminator_updates
        if game < 0:
            return (Phase("discriminator", self.judge),)
        return (
            Phase("discriminator", self.judge, config.n_d),
            Phase("generator", self.avoid, reset_optimiser=game == 0),
        )

    def imitate(self, context: StepContext) -> Tensor:
        """Likelihood of real text in nats a word."""
        return imitate(self.generator, context)

    def judge(self, context: StepContext) -> Tensor:
        """D's loss."""
        return tell_apart(self.discriminator, self.generator, context)

    def avoid(self, context: StepContext) -> Tensor:
        """G's loss: the probability of each drawn word times its fine, their sum a sentence."""
        draw = sample_with_grad(
            self.generator, context.sampling, context.batch_size, context.rng("noise")
        )
        shown = visible(draw.tokens)
        with torch.no_grad():
            count = self.config.completions
            fines = 1 - outlook(self.discriminator, self.generator, draw, count, context)  # (N, S)
            context.metrics["train/fine"] = float((fines * shown).sum() / shown.sum())
        p = log_likelihood(draw.hidden, self.generator.head, draw.tokens).exp()
        return (fines * p * shown).sum(1).mean()
