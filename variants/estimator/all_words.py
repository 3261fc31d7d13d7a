"""The reward of every next word, weighted with its probability, instead of that of the one drawn.

With r_t(w) the reward of word w behind the drawn prefix x_<t, and R the discounted returns of
`dense_reinforce`,

    sum_t grad sum_w p(w | x_<t) r_t(w)  +  E sum_t gamma R_(t+1) grad log p(x_t | x_<t):

the same gradient in the mean as `dense_reinforce`, with the chance of the next word taken out of
its first part; at gamma = 0 only the prefix's is left. Policies have it as the all-actions gradient
(Sutton et al. 2001) and expected policy gradients (Ciosek & Whiteson 2018); it needs a D that
scores all next words at once. What comes later is compared with the batch's other sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext, NextTokenDiscriminator
from core.nn.likelihood import by_step
from core.training.rewards import discounted, leave_one_out
from core.types import Embedded, Scores


class AllWords:
    """The exact mean of a step's reward over its next word, of a D that scores them all."""

    class Config(StrategyConfig):
        """Discount gamma of the rewards of later steps."""

        name: Literal["all_words"] = "all_words"
        gamma: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 0.0

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {
        "sampling": "hard_words",
        "discriminator": "word_scores",
        "objective": "mean_over_sentences",
    }
    paper = "Sutton et al. 2001; Ciosek & Whiteson 2018"
    target = "discounted"

    def __init__(self, config: Config) -> None:
        self.gamma = config.gamma

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """D's queries (N, S, E) and values (N, S), scores of real words (N, S) to compare with,
        advantages of what comes later (N, S).
        """
        D = cast(NextTokenDiscriminator, context.discriminator)
        with torch.no_grad():
            queries, values = D.queries(Embedded.of(context.draw.d_input, D.embedding).values)
        real = context.real_scores()
        later = torch.zeros_like(values)
        if self.gamma > 0:
            rewards = context.masked(context.rewards().values)
            later = leave_one_out(discounted(rewards, self.gamma) - rewards, context.mask)
        return queries, values, values if real is None else real.filled(), later

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """Minus the mean over sentences of the sum over visible steps."""
        queries, values, real, later = prepared
        table = context.discriminator.embedding.detach()  # (V, E)

        def expected(logits: Tensor, step: int) -> Tensor:
            with torch.no_grad():
                scores = torch.addmm(values[:, step, None], queries[:, step], table.T)  # (N, V)
                beside = Scores(real[:, step, None].expand_as(scores))
                rewards = context.objective.reward(Scores(scores), beside)
            return (logits.softmax(-1) * rewards).sum(-1)

        means = by_step(expected, context.draw.hidden, context.generator.head)  # (N, S)
        loss = -context.masked(means).sum(1).mean()
        return loss if self.gamma == 0 else loss + context.policy_gradient_loss(later)
