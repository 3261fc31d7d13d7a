"""LeakGAN (Guo et al. 2018): D leaks its features to a manager, whose goals guide a worker.

The generator is in `core/nn/leaking.py`. With f_t D's features of t words, Q_t the mean probability
that D gives to K completions of the first t words (Q_S the sentence's own), R_t the rank of Q_t
within the batch through a sigmoid (0 at the worst to 1 at the best):

    D:        non-saturating cross-entropy
    manager:  - mean_t R_t cos(f_{t+c} - f_t, g_t)
    worker:   - mean_t r_t log p(x_t),  r_t = 1/c sum_{i=1..c} cos(f_t - f_{t-i}, g_{t-i})
    pretraining, and every so often after it: likelihood for the worker, R = 1 on real text for the
    manager

where f_t in r_t already holds the word x_t that is rewarded. Deviations from the authors' code:
words are drawn at temperature 1 throughout; goals before the first are fixed; manager and worker
share an optimiser's learning rate and clip, not a gradient. That optimiser forgets its moments when
the game begins, where theirs has others for it; the updates of likelihood in between share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.moves import drawn, outlook, tell_apart
from core.nn.convolution import Counts
from core.nn.leaking import LeakGenerator, Sizes, Walk
from core.nn.likelihood import log_likelihood, negative_log_likelihood
from core.types import PAD, Phase, Progress, Shape, visible
from variants.discriminator.cnn import CNNDiscriminator
from variants.sampling.categorical import Categorical

Updates = Annotated[int, Field(ge=0)]


class LeakGAN:
    """A manager sets goals in D's leaked features, a worker writes towards them."""

    class Config(StrategyConfig):
        """Sizes, the paper's for length 20; pretraining and interleaving in updates."""

        name: Literal["leakgan"] = "leakgan"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        hidden: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        goal: Annotated[int, Field(ge=1, le=1024)] = 16
        horizon: Annotated[int, Field(ge=1, le=64)] = 4
        completions: Annotated[int, Field(ge=1, le=1024), Search(1, 16)] = 4
        steepness: Annotated[float, Field(gt=0)] = 12.0  # of the sigmoid over ranks
        discriminator_width: Annotated[int, Field(ge=1, le=8192)] = 64
        kernels: Counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        filters: Counts = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25  # D's
        generator_updates: Updates = 1000  # of likelihood at first, with one of D beside each
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 5
        interleave: Annotated[int, Field(ge=1)] = 15  # one update of likelihood after so many

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Guo et al. 2018"
    adversarial = False
    sampling = Categorical(Categorical.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.discriminator = CNNDiscriminator(
            CNNDiscriminator.Config(
                width=config.discriminator_width,
                kernels=config.kernels,
                filters=config.filters,
                dropout=config.dropout,
            ),
            shape,
        )
        sizes = Sizes(config.width, config.hidden, config.goal, config.horizon)
        self.generator = LeakGenerator(sizes, shape, self.discriminator)
        self.others = {"discriminator": self.discriminator}

    @staticmethod
    def temperature(progress: float) -> float:
        """Words are drawn as they come."""
        return 1.0

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood at first and every `interleave` updates, n_D : 1 otherwise."""
        game = progress.update - self.config.generator_updates
        if game < 0:
            return Phase("generator", self.imitate), Phase("discriminator", self.judge)
        if game % self.config.interleave == self.config.interleave - 1:
            return (Phase("generator", self.imitate),)
        return (
            Phase("discriminator", self.judge, self.config.n_d),
            Phase("generator", self.pursue, reset_optimiser=game == 0),
        )

    def judge(self, context: StepContext) -> Tensor:
        """D's loss."""
        return tell_apart(self.discriminator, self.generator, context)

    def imitate(self, context: StepContext) -> Tensor:
        """Likelihood of real words for the worker, real transitions for the manager."""
        tokens = context.next_batch()
        walk = self.generator.walk(tokens)
        shown = (tokens != PAD).float()
        nats = negative_log_likelihood(walk.hidden, self.generator.head, tokens)
        transitions = self._transitions(walk) * shown
        context.metrics["train/likelihood_loss"] = float(nats.detach().sum() / shown.sum())
        return (nats.sum() - transitions.sum()) / shown.sum()

    def pursue(self, context: StepContext) -> Tensor:
        """Rewarded transitions for the manager, the goals' reward of words for the worker."""
        draw = drawn(self.generator, context)
        walk = self.generator.walk(draw.tokens)
        shown = visible(draw.tokens).float()
        with torch.no_grad():
            count = self.config.completions
            ahead = outlook(self.discriminator, self.generator, draw, count, context)
            values = self._ranked(ahead)
            intrinsic = self._intrinsic(walk)
        manager = (values * self._transitions(walk) * shown).sum() / shown.sum()
        log_p = log_likelihood(walk.hidden, self.generator.head, draw.tokens)
        worker = (intrinsic * log_p * shown).sum() / shown.sum()
        context.metrics["train/intrinsic_reward"] = float((intrinsic * shown).sum() / shown.sum())
        return -(manager + worker)

    def _ranked(self, values: Tensor) -> Tensor:
        """Bootstrapped rescaled activation: sigmoid(steepness (1/2 - rank / N)), the best 1st."""
        rank = values.argsort(dim=0, descending=True).argsort(dim=0) + 1
        return (self.config.steepness * (0.5 - rank / len(values))).sigmoid()

    def _transitions(self, walk: Walk) -> Tensor:
        """cos(f_{t+c} - f_t, g_t) of each step (N, S); the last features stand for later ones."""
        S = walk.goals.shape[1]
        ahead = torch.arange(S, device=walk.goals.device).add(self.config.horizon).clamp(max=S)
        change = walk.features[:, ahead] - walk.features[:, :S]
        return cosine_similarity(change, walk.goals, dim=-1)

    def _intrinsic(self, walk: Walk) -> Tensor:
        """R (N, S) of the word that each step wrote, over the goals there have been."""
        S = walk.goals.shape[1]
        total, count = torch.zeros_like(walk.goals[..., 0]), torch.zeros_like(walk.goals[0, :, 0])
        for i in range(1, min(self.config.horizon, S) + 1):
            change = walk.features[:, i:] - walk.features[:, :-i]  # f_s - f_{s-i}, s = i .. S
            total[:, i - 1 :] += cosine_similarity(change, walk.goals[:, : S + 1 - i], dim=-1)
            count[i - 1 :] += 1
        return total / count
