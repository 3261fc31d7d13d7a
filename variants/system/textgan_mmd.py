"""TextGAN (Zhang et al. 2017): G matches the distribution of D's features, D finds z in them again.

With z the latent of a drawn sentence x(z), f D's convolutional features, r and d D's scores of real
and drawn text, z^ a linear map of f, and MMD^2 the kernel discrepancy of the features of real and
drawn text:

    D:  min  E sp(-r) + E sp(d) + lambda_r E |z^(x(z)) - z|^2 - lambda_m MMD^2
    G:  min  MMD^2

G is an LSTM whose first state is made of z, which every step reads; a word is the likeliest one,
and D and the next step see the soft-argmax softmax(L l) with a large L in its place, so that the
gradient passes through all steps. All chance is in z.

Pretraining, as in the paper by an autoencoder: z^ of real text, and its likelihood by G from there;
G and D take steps on it in turn. Deviations: the paper also pretrains D on sentences with two words
swapped, which is left out; z is added to the word before it instead of through a matrix of its own;
the kernel is one Gaussian at the median distance and the estimate the unbiased one, as the paper
leaves both open; D's convolutions have SeqGAN's highway behind them; L is 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.config import Search, StrategyConfig
from core.interfaces import Generator, SamplingSpec, StepContext
from core.nn.convolution import Counts
from core.nn.discriminator_input import HardTokens, TokenMixture
from core.nn.likelihood import negative_log_likelihood
from core.nn.noise import draw_noise
from core.training.rollout import sample, sample_with_grad
from core.types import (
    PAD,
    DiscriminatorInput,
    Draw,
    NoiseKind,
    Phase,
    Progress,
    Seeds,
    Shape,
    visible,
)
from variants.discriminator.cnn import CNNDiscriminator
from variants.generator.lstm import LSTMGenerator
from variants.next_input.last_token import LastToken
from variants.sampling.detached import Detached

SHARPNESS = 100.0  # L
Weight = Annotated[float, Field(ge=0), Search(0.01, 10, log=True)]


class SoftArgmax(Detached):
    """The likeliest word; D and the next step see softmax(l / temperature)."""

    soft_feedback = True

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Softmax times the embedding, (N, E)."""
        mixed = TokenMixture(hidden[:, None], generator.head, (), temperature)
        return mixed.embed(generator.embedding.weight)[:, 0]

    def discriminator_input(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> TokenMixture:
        """The same at every step, (N, S, V)."""
        return TokenMixture(hidden, generator.head, (), temperature, mask)


class TextGANMMD:
    """Kernel matching of D's features, through soft-argmax words."""

    class Config(StrategyConfig):
        """Sizes, D's filters the paper's; weights of D's loss; pretraining in updates."""

        name: Literal["textgan_mmd"] = "textgan_mmd"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 512, log=True)] = 128  # E, and of z
        hidden: Annotated[int, Field(ge=1, le=8192)] | None = None  # of the LSTM; None: width
        discriminator_width: Annotated[int, Field(ge=1, le=8192)] = 64
        kernels: Counts = (3, 4, 5)
        filters: Counts = (300, 300, 300)
        reconstruction: Weight = 1.0  # lambda_r
        discrepancy: Weight = 1.0  # lambda_m
        autoencoder_updates: Annotated[int, Field(ge=0)] = 1000  # at first
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 1
        n_g: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 1

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Zhang et al. 2017"
    adversarial = False

    sampling = SoftArgmax(Detached.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = LSTMGenerator(
            LSTMGenerator.Config(width=config.width, hidden=config.hidden),
            shape,
            LastToken(LastToken.Config(first="start"), shape, config.width),
            Latent(shape.length, config.width),
        )
        self.discriminator = Reader(config, shape)
        self.others = {"discriminator": self.discriminator}

    @staticmethod
    def temperature(progress: float) -> float:
        """1 / L."""
        return 1 / SHARPNESS

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The autoencoder, G and D in turn, then the game."""
        config = self.config
        if progress.update < config.autoencoder_updates:
            return (
                Phase("generator", self.reconstruct),
                Phase("discriminator", self.reconstruct),
            )
        return (
            Phase("discriminator", self.judge, config.n_d),
            Phase("generator", self.match, config.n_g),
        )

    def reconstruct(self, context: StepContext) -> Tensor:
        """Likelihood, in nats a word, of real text by G from the z^ that D reads in it."""
        tokens, G = context.next_batch(), self.generator
        features = self.discriminator(HardTokens(tokens, visible(tokens)))
        noise = replace(
            G.draw_noise(len(tokens), context.rng("likelihood")),
            latent=self.discriminator.latent(features),
        )
        nats = negative_log_likelihood(G.parallel(tokens, noise), G.head, tokens)
        loss = nats.sum() / (tokens != PAD).sum()
        context.metrics["train/reconstruction_nats"] = float(loss.detach())
        return loss

    def judge(self, context: StepContext) -> Tensor:
        """D's loss."""
        D, config, tokens = self.discriminator, self.config, context.next_batch()
        drawing = self._hiding(context)
        draw = sample(self.generator, drawing, context.batch_size, context.rng("noise"))
        real, fake = D(HardTokens(tokens, visible(tokens))), D(draw.d_input)
        r, f = D.score(real), D.score(fake)
        missed = (D.latent(fake) - self._latent(draw)).square().sum(1).mean()
        discrepancy = squared_mmd(fake, real)
        context.metrics["train/real_score"] = float(r.detach().mean())
        context.metrics["train/fake_score"] = float(f.detach().mean())
        context.metrics["train/latent_error"] = float(missed.detach())
        game = softplus(-r).mean() + softplus(f).mean()
        loss: Tensor = game + config.reconstruction * missed - config.discrepancy * discrepancy
        return loss

    def match(self, context: StepContext) -> Tensor:
        """G's loss: MMD^2 of the features of drawn and real text."""
        tokens, drawing = context.next_batch(), self._hiding(context)
        draw = sample_with_grad(self.generator, drawing, context.batch_size, context.rng("noise"))
        with torch.no_grad():
            real = self.discriminator(HardTokens(tokens, visible(tokens)))
        fake: Tensor = self.discriminator(draw.d_input)
        return squared_mmd(fake, real)

    @staticmethod
    def _hiding(context: StepContext) -> SamplingSpec:
        return replace(context.sampling, mask_after_eos=True)

    @staticmethod
    def _latent(draw: Draw) -> Tensor:
        assert draw.noise is not None
        assert draw.noise.latent is not None
        return draw.noise.latent


class Latent(nn.Module):
    """One vector z a sentence, read at every step."""

    offers = frozenset({"memory"})

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length, self.width = length, width

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor:
        """Z (N, E)."""
        return draw_noise(noise, (count, self.width), rng)

    def forward(self, latent: Tensor) -> Tensor:
        """Z (N, E) to memory (N, S, E)."""
        return latent[:, None].expand(-1, self.length, -1)


class Reader(nn.Module):
    """D: features of a sentence, a score of them, and the z they tell of."""

    def __init__(self, config: TextGANMMD.Config, shape: Shape) -> None:
        super().__init__()
        self.cnn = CNNDiscriminator(
            CNNDiscriminator.Config(
                width=config.discriminator_width,
                kernels=config.kernels,
                filters=config.filters,
                dropout=0.0,
            ),
            shape,
        )
        self.latent = nn.Linear(self.cnn.width, config.width)

    def forward(self, words: DiscriminatorInput) -> Tensor:
        """Features (N, F)."""
        return self.cnn.features(words.embed(self.cnn.embedding), words.mask)

    def score(self, features: Tensor) -> Tensor:
        """Scores (N,) of features."""
        scores: Tensor = self.cnn.out(features).squeeze(-1)
        return scores


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy (Gretton et al. 2012, eq. 3): the unbiased estimate of x
    (N, F) and y (N, F), N at least 2, with the Gaussian kernel exp(-|a - b|^2 / (2 s^2)). s^2 is
    the median squared distance of two different rows of both (the lower one of two) and constant
    for the gradient. May be below zero.
    """
    N = len(x)
    both = torch.cat([x, y])
    norms = both.square().sum(1)
    squared = (norms[:, None] + norms - 2 * both @ both.T).clamp(min=0)  # (2N, 2N)
    with torch.no_grad():
        above = torch.ones_like(squared, dtype=torch.bool).triu(1)
        scale = squared[above].median().clamp(min=torch.finfo(squared.dtype).tiny)
    kernel = (-squared / (2 * scale)).exp()
    own = 1 - torch.eye(N, dtype=kernel.dtype, device=kernel.device)
    pairs = (kernel[:N, :N] + kernel[N:, N:]) * own
    across = kernel[:N, N:]
    return pairs.sum() / (N * (N - 1)) - 2 * across.mean()
