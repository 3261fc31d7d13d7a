"""TextGAN (Zhang et al. 2017): G matches the distribution of D's features; D recovers z from them.

With z the latent of a generated sentence x(z), phi D's convolutional features, r and f D's scores
of real and generated text, z^ the tanh of a linear map of phi, and MMD^2 the squared maximum mean
discrepancy between the features of real and generated text:

    D:  min  E sp(-r) + E sp(f) + lambda_r E |z^(x(z)) - z|^2 - lambda_m MMD^2
    G:  min  MMD^2

G is an LSTM whose first state is computed from z; every step reads z as well. The token is the most
likely one. D and the next step see its soft-argmax, softmax(L l) with a large L, so the gradient
passes through all steps. All randomness is in z.

Pretraining is the paper's autoencoder: z^ of real text, and G's likelihood of that text given z^; G
and D are trained on it in turn. Deviations: the paper also pretrains D on sentences with two tokens
swapped; z is added to the last token instead of having a matrix of its own; the kernel is one
Gaussian at the median distance and MMD^2 is estimated without bias (the authors' code: the root of
the biased estimate, at a bandwidth of 20); D's convolutions are rectified and followed by SeqGAN's
highway layer (tanh, and two more layers before the score and z^); L is 100 (1,000).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.nn.convolution import Counts
from core.nn.likelihood import negative_log_likelihood
from core.types import PAD, DiscriminatorInput, Phase, Progress, Shape
from variants.discriminator.cnn import CNNDiscriminator
from variants.generator.lstm import LSTMGenerator
from variants.noise_mapping import LinearMapping
from variants.sampling.detached import Detached
from variants.system import (
    SearchedSteps,
    Size,
    Updates,
    WholeSystem,
    log_scores,
    sizes_of_d,
    token_inputs,
    until_end,
)

SHARPNESS = 100.0  # L
Weight = Annotated[float, Field(ge=0), Search(0.01, 10, log=True)]


class _SoftArgmax(Detached):
    """The most likely token; D and the next step see softmax(l / temperature)."""

    soft_feedback = True
    tempered = True


class TextGANMMD(WholeSystem):
    """TextGAN: kernel matching (MMD) of D's features, with soft-argmax tokens."""

    class Config(StrategyConfig):
        """Sizes (D's filters are the paper's); weights of D's loss; pretraining in updates."""

        width: Annotated[int, Field(ge=1, le=8192), Search(32, 512, log=True)] = 128  # E, and of z
        hidden: Size | None = None  # of the LSTM; None: width
        discriminator_width: Size = 64
        kernels: Counts = (3, 4, 5)
        filters: Counts = (300, 300, 300)
        reconstruction: Weight = 1.0  # lambda_r
        discrepancy: Weight = 1.0  # lambda_m
        autoencoder_updates: Updates = 1000  # first
        # Learning rate of these; None: the players' own.
        autoencoder_lr: Annotated[float, Field(gt=0, lt=1)] | None = None
        n_d: SearchedSteps = 1
        n_g: SearchedSteps = 1

    paper = "Zhang et al. 2017"
    sampling = _SoftArgmax(Detached.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        start, _ = token_inputs(shape, config.width)
        self.generator: LSTMGenerator = LSTMGenerator(
            LSTMGenerator.Config(width=config.width, hidden=config.hidden),
            shape,
            start,
            _Latent(shape.length, config.width),
        )
        self.discriminator = FeatureDiscriminator(config, shape)
        self.others = {"discriminator": self.discriminator}

    @staticmethod
    def temperature(progress: float) -> float:
        """1 / L."""
        return 1 / SHARPNESS

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The autoencoder, G and D in turn, then adversarial training."""
        config = self.config
        if progress.update < config.autoencoder_updates:
            lr = config.autoencoder_lr
            phase = partial(Phase, loss=self.autoencoder_loss, lr=lr, pretraining=True)
            return phase("generator"), phase("discriminator")
        first = progress.update == config.autoencoder_updates
        return (
            Phase("discriminator", self.discriminator_loss, config.n_d, reset_optimiser=first),
            Phase("generator", self.generator_loss, config.n_g, reset_optimiser=first),
        )

    def autoencoder_loss(self, context: StepContext) -> Tensor:
        """G's negative log-likelihood, in nats per token, of real text given its z^."""
        tokens, G, D = context.next_batch(), self.generator, self.discriminator
        noise = G.draw_noise(len(tokens), context.rng("likelihood"))
        noise = replace(noise, latent=D.code(D(until_end(tokens))))
        nll = negative_log_likelihood(G.parallel(tokens, noise), G.head, tokens)
        loss = nll.sum() / (tokens != PAD).sum()
        context.metrics["train/reconstruction_nats"] = float(loss.detach())
        return loss

    def discriminator_loss(self, context: StepContext) -> Tensor:
        """Cross-entropy, plus the error of z^, minus the discrepancy that G minimises."""
        D, config, tokens = self.discriminator, self.config, context.next_batch()
        draw = self.sample(masked(context))
        assert draw.noise is not None
        assert draw.noise.latent is not None
        real, fake = D(until_end(tokens)), D(draw.d_input)
        r, f = D.score(real), D.score(fake)
        latent_error = (D.code(fake) - draw.noise.latent).square().sum(1).mean()
        discrepancy = squared_mmd(fake, real)
        log_scores(r, f, context)
        context.metrics["train/latent_error"] = float(latent_error.detach())
        adversarial = softplus(-r).mean() + softplus(f).mean()
        return adversarial + config.reconstruction * latent_error - config.discrepancy * discrepancy

    def generator_loss(self, context: StepContext) -> Tensor:
        """MMD^2 between the features of generated and real text."""
        tokens = context.next_batch()
        draw = self.sample_with_grad(masked(context))
        with torch.no_grad():
            real = self.discriminator(until_end(tokens))
        return squared_mmd(self.discriminator(draw.d_input), real)


class _Latent(LinearMapping):
    """One vector z per sentence, read at every step: the noise mapping of G."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__(LinearMapping.Config(layers=0), (width,))
        self.length = length

    def forward(self, latent: Tensor) -> Tensor:
        """Z (N, E) to memory (N, S, E)."""
        return super().forward(latent)[:, None].expand(-1, self.length, -1)


class FeatureDiscriminator(nn.Module):
    """D: features of a sentence; from them a score, and an estimate of z."""

    def __init__(self, config: TextGANMMD.Config, shape: Shape) -> None:
        super().__init__()
        sizes = CNNDiscriminator.Config(**sizes_of_d(config), dropout=0.0)
        self.cnn = CNNDiscriminator(sizes, shape)
        self.latent = nn.Linear(self.cnn.width, config.width)

    def forward(self, d_input: DiscriminatorInput) -> Tensor:
        """Features (N, F)."""
        return self.cnn.features(d_input.embed(self.cnn.embedding), d_input.mask)

    def code(self, features: Tensor) -> Tensor:
        """Z^ (N, E) of features, in the range of z, -1 to 1."""
        return self.latent(features).tanh()

    def score(self, features: Tensor) -> Tensor:
        """Scores (N,) of features."""
        return self.cnn.out(features).squeeze(-1)


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of MMD^2 between x (N, F) and y (N, F), N at least 2, with gradient; may be
    negative (Gretton et al. 2012, eq. 3).

    The kernel is exp(-|a - b|^2 / (2 s^2)), with s^2 the median squared distance of two different
    rows of both (the lower median). s is a constant for the gradient.
    """
    N = len(x)
    both = torch.cat([x, y])
    norms = both.square().sum(1)
    squared = (norms[:, None] + norms - 2 * both @ both.T).clamp(min=0)  # (2N, 2N)
    with torch.no_grad():
        above = torch.ones_like(squared, dtype=torch.bool).triu(1)
        scale = squared[above].median().clamp(min=torch.finfo(squared.dtype).tiny)
    kernel = (-squared / (2 * scale)).exp()
    different = 1 - torch.eye(N, dtype=kernel.dtype, device=kernel.device)
    within = (kernel[:N, :N] + kernel[N:, N:]) * different
    return within.sum() / (N * (N - 1)) - 2 * kernel[:N, N:].mean()


def masked(context: StepContext) -> StepContext:
    """The context with tokens masked after their end, whatever `model.mask_after_eos` says."""
    return replace(context, spec=replace(context.spec, mask_after_eos=True))
