"""ColdGANs: sentences are drawn from a colder distribution q, and weighted back to G's own p.

    q = epsilon softmax(l / T) + (1 - epsilon) nucleus(softmax(l)),    T <= 1
    E_q w (R - b) sum_t grad log p(x_t | x_<t),    w = min(c, p(x) / q(x))

with l the logits of a step, and the nucleus the likeliest tokens that hold a share of the
probability, renormalised (Scialom et al. 2020). D's generated sentences are drawn from q too:
near the modes of G it has less to learn. With epsilon > 0 every token can be drawn, so that without
the bound c the mean is that of REINFORCE; the bound limits the variance of the weights at the price
of a bias (Ionides 2008). Sentences for evaluation are drawn from p. Only the paper's abstract, its
reviews and summaries were at hand, so the mixture and all defaults are our reading.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext, StepPlan
from core.nn.likelihood import by_step
from core.types import Seeds
from variants.estimator import DecayRate, MovingBaseline, PolicyGradient
from variants.sampling.categorical import Categorical


class Cold(nn.Module, PolicyGradient):
    """ColdGANs: REINFORCE with samples of a lower temperature and importance weights."""

    class Config(StrategyConfig):
        """Temperature T, its share epsilon, mass of the nucleus, bound c, decay of the baseline."""

        temperature: Annotated[float, Field(gt=0, le=1), Search(0.2, 1)] = 0.5
        epsilon: Annotated[float, Field(gt=0, le=1), Search(0.1, 1)] = 1.0  # 1: no nucleus
        nucleus: Annotated[float, Field(gt=0, le=1)] = 0.9
        bound: Annotated[float, Field(gt=0)] = 5.0  # on the weight of a sentence
        rho: DecayRate = 0.9

    paper = "Scialom et al. 2020"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.baseline = config, MovingBaseline(config.rho)
        self.plan = StepPlan(sampling=_Colder(config))

    def advantages(self, context: EstimatorContext) -> Tensor:
        """A (N,)."""
        tokens = context.draw.tokens

        def log_q(logits: Tensor, step: int) -> Tensor:
            q = colder(logits, self.config)
            return q.gather(1, tokens[:, step, None]).squeeze(1).log()

        with torch.no_grad():
            log_qs = by_step(log_q, context.draw.hidden, context.generator.head)  # (N, S)
            log_weights = (context.log_probs() - context.masked(log_qs)).sum(1)
        weights = log_weights.exp().clamp(max=self.config.bound)
        return weights * self.baseline.subtract(context.rewards().per_sentence())


def colder(logits: Tensor, config: Cold.Config) -> Tensor:
    """Q (N, V) of logits (N, V)."""
    cold = (logits / config.temperature).softmax(-1)
    if config.epsilon == 1:
        return cold
    p, order = logits.softmax(-1).sort(-1, descending=True)
    p = p.masked_fill(p.cumsum(-1) - p >= config.nucleus, 0)  # what the likelier ones leave open
    nucleus = torch.zeros_like(p).scatter(-1, order, p / p.sum(-1, keepdim=True))
    return config.epsilon * cold + (1 - config.epsilon) * nucleus


class _Colder(Categorical):
    """A draw from q."""

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """See `Sampling.select`."""
        return super().select(colder(logits, self.config).log(), step, seeds, temperature)
