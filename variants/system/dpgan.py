"""DPGAN, diversity-promoting GAN (Xu et al. 2018): D is a language model, and surprise the reward.

With r_t = -log D(x_t | x_<t) in nats and R = mean_t r_t over a sentence:

    D:  min  E_{x ~ G} R - E_{x ~ real} R          drawn text becomes likely to it, real text not
    G:  E sum_t Q_t grad log p(x_t | x_<t),  Q_t = R sum_{s >= t} gamma^(s-t) r_s

so that what is written often is worth little: a reward without an upper bound, unlike that of a
classifier, which saturates where it is sure. G's steps alternate with likelihood on real text, the
paper's teacher forcing. D's loss has no lower bound either; `train.clip` and a small rate hold it.
Deviations: the paper writes reviews of several sentences from a given one, sentence by sentence;
here a sentence is drawn from nothing, so its R is of itself alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.moves import drawn, imitate, nats
from core.nn.likelihood import log_likelihood
from core.training.rollout import sample_with_grad
from core.types import PAD, Phase, Progress, Shape, visible
from variants.generator.lstm import language_model
from variants.sampling.categorical import Categorical

Updates = Annotated[int, Field(ge=0)]


class DPGAN:
    """A language model as discriminator: the more surprising a word is to it, the better."""

    class Config(StrategyConfig):
        """Sizes of G and D, both LSTMs; pretraining in updates, and the steps of an update."""

        name: Literal["dpgan"] = "dpgan"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 128
        discriminator_width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 128
        gamma: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 1.0
        generator_updates: Updates = 1000  # of likelihood at first
        discriminator_updates: Updates = 100  # of D, behind them
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 5
        teacher_steps: Annotated[int, Field(ge=0, le=1000)] = 1  # of likelihood beside one of G

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Xu et al. 2018"
    adversarial = False
    sampling = Categorical(Categorical.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width)
        self.discriminator = language_model(shape, config.discriminator_width)
        self.others = {"discriminator": self.discriminator}

    @staticmethod
    def temperature(progress: float) -> float:
        """Words are drawn as they come."""
        return 1.0

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then D alone, then the game."""
        config = self.config
        if progress.update < config.generator_updates:
            return (Phase("generator", self.imitate),)
        if progress.update < config.generator_updates + config.discriminator_updates:
            return (Phase("discriminator", self.judge),)
        return (
            Phase("discriminator", self.judge, config.n_d),
            Phase("generator", self.surprise),
            Phase("generator", self.imitate, config.teacher_steps),
        )

    def imitate(self, context: StepContext) -> Tensor:
        """Likelihood of real text in nats a word."""
        return imitate(self.generator, context)

    def judge(self, context: StepContext) -> Tensor:
        """D's loss, in nats a word."""
        draw = drawn(self.generator, context)
        shown = draw.tokens.masked_fill(~visible(draw.tokens), PAD)
        tokens = torch.cat([context.next_batch(), shown])
        of_words = nats(self.discriminator, tokens, context)
        real, fake = (of_words.sum(1) / (tokens != PAD).sum(1).clamp(min=1)).chunk(2)
        context.metrics["train/real_score"] = float(real.detach().mean())
        context.metrics["train/fake_score"] = float(fake.detach().mean())
        return fake.mean() - real.mean()

    def surprise(self, context: StepContext) -> Tensor:
        """G's loss: minus Q_t times the log-likelihood of each drawn word, their sum a sentence."""
        draw = sample_with_grad(
            self.generator, context.sampling, context.batch_size, context.rng("noise")
        )
        shown = visible(draw.tokens)
        with torch.no_grad():
            values = self._values(self._drawn_nats(draw.tokens, context) * shown, shown)
        log_p = log_likelihood(draw.hidden, self.generator.head, draw.tokens)
        return -(values * log_p * shown).sum(1).mean()

    def _values(self, rewards: Tensor, shown: Tensor) -> Tensor:
        """Q (N, S) of rewards r (N, S), zero where nothing is shown."""
        ahead = torch.zeros_like(rewards[:, 0])
        sums = []
        for r in reversed(rewards.unbind(1)):
            ahead = r + self.config.gamma * ahead
            sums.append(ahead)
        sentence = rewards.sum(1, keepdim=True) / shown.sum(1, keepdim=True)
        return sentence * torch.stack(sums[::-1], dim=1)

    def _drawn_nats(self, tokens: Tensor, context: StepContext) -> Tensor:
        D = self.discriminator
        hidden = D.parallel(tokens, D.draw_noise(len(tokens), context.rng("discriminator")))
        return -log_likelihood(hidden, D.head, tokens)
