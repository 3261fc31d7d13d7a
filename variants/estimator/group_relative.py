"""GRPO: the advantage of a sentence is its reward relative to others that complete the same prefix.

For each of G completions i of one prefix, with rewards R, ratio rho of a token's probability to its
probability when it was drawn, and T the tokens of a completion,

    A_i = (R_i - mean R) / std R
    1/G sum_i 1/T_i sum_t min(rho_it A_i, clip(rho_it, 1 - c, 1 + c) A_i) - beta KL_it
    KL_it = p'/p - log(p'/p) - 1,    p' the probability under the reference model

(Shao et al. 2024, equations 3 and 4; the clip is PPO's, Schulman et al. 2017, the estimate of KL
Schulman's k3, whose gradient as a loss is in expectation that of KL(p' || p)). The reference is G
as it was when adversarial training began, so after likelihood pretraining the pretrained model.
Dividing by the standard deviation of the same rewards is biased, and so is the mean over tokens if
lengths differ (Liu et al. 2025): `standardise = false` and `per_token = false` are the unbiased
estimate of Ahmadian et al. 2024, R_i less the mean of the others. With a prefix of 0 tokens all
sentences are completions of the empty prefix.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext, StepPlan, Strategy
from variants.estimator import subtract_others

EPSILON = 1e-6  # added to the standard deviation


class GroupRelative(Strategy):
    """GRPO: standardised rewards of several completions of one prefix, with PPO's ratio clip."""

    class Config(StrategyConfig):
        """Completions of a prefix, tokens of it, steps per draw, clip c, weight beta of the KL."""

        group: Annotated[int, Field(ge=2, le=65536), Search(4, 64, log=True)] = 8
        prefix: Annotated[int, Field(ge=0, le=4095)] = 0  # first tokens of a real sentence
        standardise: bool = True
        per_token: bool = True  # the mean over a sentence's tokens; false: their sum
        epochs: Annotated[int, Field(ge=1, le=100), Search(1, 4)] = 1
        clip: Annotated[float, Field(gt=0, lt=1), Search(0.05, 0.4)] = 0.2
        kl: Annotated[float, Field(ge=0), Search(1e-4, 0.1, log=True)] = 0.001
        shared: bool = False  # D learns from the same completions

    # Without "mean_over_sentences": a micro-batch may not tear a group apart.
    offers = frozenset({"score_function"})
    needs = {"sampling": "hard_tokens"}
    paper = "Shao et al. 2024"
    target = "grouped"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.plan = StepPlan(
            config.group,
            config.prefix,
            config.epochs,
            reference=config.kl > 0,
            drawn_by="generator" if config.shared else "each",
        )

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N,), log p (N, S) as drawn, and with a KL penalty those of the reference."""
        rewards = context.rewards().per_sentence()
        size = self.config.group
        groups = rewards.view(-1, len(rewards) if len(rewards) % size else size)  # (N / G, G)
        if self.config.standardise:
            centred = groups - groups.mean(1, keepdim=True)
            advantages = centred / (groups.std(1, keepdim=True) + EPSILON)
        else:
            advantages = subtract_others(groups.T).T
        reference = [context.reference_log_probs()] if self.config.kl else []
        return advantages.flatten(), context.log_probs().detach(), *reference

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """Minus the clipped surrogate less the penalty, over the tokens after the prefix."""
        advantages, drawn, *reference = prepared
        log_p, A = context.log_probs(), advantages.unsqueeze(1)
        ratio, clip = (log_p - drawn).exp(), self.config.clip
        gain = torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A)
        for log_reference in reference:
            log_ratio = log_reference - log_p
            gain = gain - self.config.kl * (log_ratio.exp() - log_ratio - 1)
        counted = context.masked(torch.ones_like(log_p))
        counted[:, : self.config.prefix] = 0
        if self.config.per_token:
            counted = counted / counted.sum(1, keepdim=True).clamp(min=1)
        return -(gain * counted).sum(1).mean()
