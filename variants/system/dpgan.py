"""DPGAN, diversity-promoting GAN (Xu et al. 2018): D is a language model, its surprise the reward.

With r_t = -log D(x_t | x_<t) in nats and R = mean_t r_t over a sentence:

    D:  min  E_{x ~ G} R - a E_{x ~ real} R   generated text becomes likely to D, real text unlikely
    G:  E sum_t Q_t grad log p(x_t | x_<t),  Q_t = R sum_{s >= t} gamma^(s-t) r_s

Text that G generates often has a low reward. The reward has no upper bound, unlike that of a
classifier, which saturates when it is confident. G's steps alternate with likelihood on real text,
the paper's teacher forcing. The paper has a = 1, with which D's loss has no lower bound; in the
authors' code a is .0001, which a cast to integers makes 0: D is a language model of generated text.
Deviations: the paper generates reviews sentence by sentence from a given first sentence; here
single sentences are sampled unconditionally, so R is that of one sentence. In the authors' code,
and with `reward = "token"`, Q_t is min(r_t, 12) / 10,000, and teacher forcing weights each real
token with r_t / 10, or with 1 if r_t is above 12; both losses are means over tokens.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.nn.likelihood import log_likelihood
from core.training.scoring import token_nll
from core.types import PAD, Phase, Progress, Shape, visible
from variants.estimator import discounted
from variants.system import (
    SearchedSteps,
    SmallSize,
    Updates,
    WholeSystem,
    language_model,
    log_scores,
)

LARGEST = 12  # nats, bound of a token's reward in the authors' code


class DPGAN(WholeSystem):
    """DPGAN: the discriminator is a language model, and tokens that surprise it are rewarded."""

    class Config(StrategyConfig):
        """Sizes of G and D, both LSTMs; pretraining in updates, and the steps of an update."""

        width: SmallSize = 128
        discriminator_width: SmallSize = 128
        real_weight: Annotated[float, Field(ge=0, le=1)] = 1.0  # a, of real text in D's loss
        gamma: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 1.0
        reward: Literal["sentence", "token"] = "sentence"  # of each token; "token": its own alone
        generator_updates: Updates = 1000  # of likelihood first
        discriminator_updates: Updates = 100  # of D alone, after them
        n_d: SearchedSteps = 5
        teacher_steps: Annotated[int, Field(ge=0, le=1000)] = 1  # of likelihood, after one of G

    paper = "Xu et al. 2018"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width)
        self.discriminator = language_model(shape, config.discriminator_width)
        self.others = {"discriminator": self.discriminator}

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then D alone, then adversarial training."""
        config = self.config
        if progress.update < config.generator_updates:
            return (Phase("generator", self.likelihood_loss, pretraining=True),)
        if progress.update < config.generator_updates + config.discriminator_updates:
            return (Phase("discriminator", self.discriminator_loss, pretraining=True),)
        teacher = self.teacher_loss if config.reward == "token" else self.likelihood_loss
        return (
            Phase("discriminator", self.discriminator_loss, config.n_d),
            Phase("generator", self.generator_loss),
            Phase("generator", teacher, config.teacher_steps),
        )

    def discriminator_loss(self, context: StepContext) -> Tensor:
        """The mean surprise of generated text less that of real text, in nats per token."""
        drawn = self.sample(context).tokens
        tokens = torch.cat([context.next_batch(), drawn.masked_fill(~visible(drawn), PAD)])
        surprise = token_nll(self.discriminator, tokens, context.rng("likelihood")).sum(1)
        real, fake = (surprise / (tokens != PAD).sum(1).clamp(min=1)).chunk(2)
        log_scores(real, fake, context)
        return fake.mean() - self.config.real_weight * real.mean()

    def generator_loss(self, context: StepContext) -> Tensor:
        """Minus Q_t times the log-likelihood of each sampled token, summed over a sentence."""
        draw, D = self.sample_with_grad(context), self.discriminator
        # D learns no padding token, so one before the end would always surprise it.
        mask = visible(draw.tokens) & (draw.tokens != PAD)
        with torch.no_grad():
            noise = D.draw_noise(len(draw.tokens), context.rng("discriminator"))
            hidden = D.parallel(draw.tokens, noise)
            values = self.q_values(-log_likelihood(hidden, D.head, draw.tokens) * mask, mask)
        log_p = log_likelihood(draw.hidden, self.generator.head, draw.tokens)
        return -(values * log_p * mask).sum(1).mean()

    def teacher_loss(self, context: StepContext) -> Tensor:
        """Likelihood of real text, in which each token counts a tenth of its surprise."""
        tokens = context.next_batch()
        with torch.no_grad():
            surprise = token_nll(self.discriminator, tokens, context.rng("likelihood"))
        weights = torch.where(surprise > LARGEST, 1.0, surprise / 10)
        return (weights * token_nll(self.generator, tokens, context.rng("likelihood"))).sum() / (
            tokens != PAD
        ).sum()

    def q_values(self, rewards: Tensor, mask: Tensor) -> Tensor:
        """Q (N, S) of rewards r (N, S), zero where `mask` is False."""
        if self.config.reward == "token":  # the sum over tokens becomes their mean
            return rewards.clamp(max=LARGEST) / 10_000 * len(mask) / mask.sum().clamp(min=1)
        sentence = rewards.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
        return sentence * discounted(rewards, self.config.gamma)
