"""IQ-Learn for text (Garg et al. 2021; Wulfmeier et al. 2024): inverse reinforcement learning
without sampling. G's logits are soft action values Q of the next token, so that

    V_t = log sum_v exp Q_t(v),    log p(x_t | x_<t) = Q_t(x_t) - V_t,
    r_t = Q_t(x_t) - gamma V_(t+1),    V = 0 after the end,

and with a chi-square regulariser of the reward r, over real sentences only,

    min  mean over tokens of  -(r_t - (V_t - gamma V_(t+1))) + lambda r_t^2
       = mean over tokens of  -log p(x_t | x_<t) + lambda r_t^2:

likelihood with a penalty on temporal differences, in which a token's value depends on those after
it. With lambda = 0 it is maximum likelihood.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.nn.likelihood import by_step, negative_log_likelihood
from core.types import PAD, Phase, Progress, Shape
from variants.system import Layers, SmallSize, WholeSystem, language_model


class IQLearn(WholeSystem):
    """IQ-Learn: likelihood with a penalty on the temporal differences of the logits' values."""

    class Config(StrategyConfig):
        """Sizes of G, an LSTM; weight lambda of the penalty, discount gamma."""

        width: SmallSize = 128
        layers: Layers = 1
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0
        penalty: Annotated[float, Field(ge=0), Search(1e-3, 1, log=True)] = 0.1  # lambda
        gamma: Annotated[float, Field(ge=0, le=1), Search(0.5, 1)] = 1.0

    paper = "Wulfmeier et al. 2024; Garg et al. 2021"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config, self.others = config, {}
        self.generator = language_model(shape, config.width, config.layers, config.dropout)

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """One step on real sentences."""
        return (Phase("generator", self.generator_loss),)

    def generator_loss(self, context: StepContext) -> Tensor:
        """Negative log-likelihood and the penalty, per token."""
        tokens, G = context.next_batch(), self.generator
        noise = G.draw_noise(len(tokens), context.rng("likelihood"))
        hidden, seen = G.parallel(tokens, noise), tokens != PAD
        token_nll = negative_log_likelihood(hidden, G.head, tokens)  # 0 at padding
        values = by_step(lambda logits, step: logits.logsumexp(-1), hidden, G.head) * seen
        after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
        rewards = (values - token_nll - self.config.gamma * after) * seen
        count = seen.sum()
        context.metrics["train/likelihood_loss"] = float(token_nll.detach().sum() / count)
        context.metrics["train/reward"] = float(rewards.detach().sum() / count)
        return (token_nll + self.config.penalty * rewards.square()).sum() / count
