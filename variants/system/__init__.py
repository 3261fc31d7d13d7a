"""Whole text GANs that do not factor into the slots, and the losses that several of them share."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.config import Search, StrategyConfig
from core.interfaces import Generator, Sampling, StepContext, Strategy
from core.nn.convolution import Counts
from core.nn.discriminator_input import HardTokens
from core.training.players import evaluation_mode
from core.training.rollout import completions, sample, sample_with_grad
from core.training.scoring import token_nll
from core.types import PAD, Draw, Shape, visible
from variants.discriminator.cnn import CNNDiscriminator
from variants.generator.lstm import LSTMGenerator
from variants.next_input.last_token import LastToken
from variants.noise_mapping.none import NoMapping
from variants.sampling.categorical import Categorical

Size = Annotated[int, Field(ge=1, le=8192)]
SmallSize = Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)]
Layers = Annotated[int, Field(ge=1, le=16)]
Updates = Annotated[int, Field(ge=0)]
Steps = Annotated[int, Field(ge=1, le=1000)]  # of one player in an update
SearchedSteps = Annotated[int, Field(ge=1, le=1000), Search(1, 10)]
CNN_SETTINGS = {"kernels", "filters", "dropout"}
Completions = Annotated[int, Field(ge=1, le=1024), Search(1, 16)]  # per prefix


class WholeSystem(Strategy):
    """A generator and further players with phases and losses of their own.

    A loss gets a `StepContext` and returns a scalar; what it stores in `context.metrics` is logged.
    """

    adversarial = False  # there is no adversary from the slots
    sampling: Sampling = Categorical(Categorical.Config())
    generator: Generator
    others: Mapping[str, nn.Module]

    @staticmethod
    def temperature(progress: float) -> float:
        """Of sampling, at this fraction of the run: 1 throughout."""
        return 1.0

    def likelihood_loss(self, context: StepContext) -> Tensor:
        """Negative log-likelihood of real text in nats per token."""
        tokens = context.next_batch()
        loss = (
            token_nll(self.generator, tokens, context.rng("likelihood")).sum()
            / (tokens != PAD).sum()
        )
        context.metrics["train/likelihood_loss"] = float(loss.detach())
        return loss

    def sample(self, context: StepContext) -> Draw:
        """A batch of generated sentences, without gradient."""
        return sample(self.generator, context.spec, context.batch_size, context.rng("noise"))

    def sample_with_grad(self, context: StepContext) -> Draw:
        """A batch of generated sentences, with gradient."""
        rng = context.rng("noise")
        return sample_with_grad(self.generator, context.spec, context.batch_size, rng)


class CNNSystem(WholeSystem):
    """A system whose discriminator is SeqGAN's CNN, a classifier of real and generated text."""

    class Config(StrategyConfig):
        """Sizes of D."""

        discriminator_width: Size = 64
        kernels: Counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        filters: Counts = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25  # D's

    discriminator: CNNDiscriminator

    def discriminator_loss(self, context: StepContext) -> Tensor:
        """D's cross-entropy, E sp(-r) + E sp(f)."""
        r = self.score(context.next_batch())
        f = self.score(self.sample(context).tokens)
        log_scores(r, f, context)
        return softplus(-r).mean() + softplus(f).mean()

    def score(self, tokens: Tensor) -> Tensor:
        """D's scores (N,) of sentences, up to their end."""
        return self.discriminator(until_end(tokens))

    @torch.no_grad()
    def mc_q_values(self, draw: Draw, count: int, context: StepContext, every: int = 1) -> Tensor:
        """Q (N, S) by D in evaluation mode: its mean probability of real over `count` completions
        of each prefix; for the last step that of the sentence itself. With `every` = c only after
        c, 2c, ... steps and the last one.
        """
        rng = context.rng("completions")
        continued = completions(self.generator, context.spec, draw, count, rng)
        with evaluation_mode(self.discriminator):
            values = [
                self.score(of_prefix.flatten(0, 1)).sigmoid().view(-1, count).mean(1)
                for of_prefix in continued[every - 1 :: every]
            ]
            return torch.stack([*values, self.score(draw.tokens).sigmoid()], dim=1)


def sizes_of_d(config: Any) -> dict[str, Any]:
    """The sizes of D in a system's configuration, as settings of a CNN discriminator."""
    return {"width": config.discriminator_width, **config.model_dump(include=CNN_SETTINGS)}


def cnn(config: CNNSystem.Config, shape: Shape, output_decay: float = 0.0) -> CNNDiscriminator:
    """The discriminator of a configuration."""
    sizes = sizes_of_d(config)
    return CNNDiscriminator(CNNDiscriminator.Config(**sizes, output_decay=output_decay), shape)


def language_model(
    shape: Shape, width: int, layers: int = 1, dropout: float = 0.0
) -> LSTMGenerator:
    """An LSTM over the tokens alone, with a learned start token."""
    return LSTMGenerator(
        LSTMGenerator.Config(width=width, layers=layers, dropout=dropout),
        shape,
        *token_inputs(shape, width),
    )


def token_inputs(shape: Shape, width: int) -> tuple[LastToken, NoMapping]:
    """Next-step input and noise mapping of a generator that reads only tokens."""
    start = LastToken(LastToken.Config(first="start"), shape, width)
    return start, NoMapping(NoMapping.Config(), shape, width)


def until_end(tokens: Tensor) -> HardTokens:
    """Sentences (N, S) for a discriminator, masked after their end."""
    return HardTokens(tokens, visible(tokens))


def log_scores(real: Tensor, fake: Tensor, context: StepContext) -> None:
    """Log the means of D's scores of real and generated sentences."""
    context.metrics["train/real_score"] = float(real.detach().mean())
    context.metrics["train/fake_score"] = float(fake.detach().mean())
