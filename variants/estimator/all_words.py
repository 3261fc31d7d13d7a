"""The expected reward of the next token instead of the reward of the sampled one.

With r_t(w) the reward of token w after the prefix x_<t, and R the discounted returns of
`dense_reinforce`,

    sum_t grad sum_w p(w | x_<t) r_t(w)  +  E sum_t gamma R_(t+1) grad log p(x_t | x_<t):

in expectation the same gradient as `dense_reinforce`, but its first part does not depend on which
token was sampled. With gamma = 0 only that part remains. Known as the all-actions policy gradient
(Sutton et al. 2001) and as expected policy gradients (Ciosek & Whiteson 2018). It needs a D that
scores all next tokens at once. The baseline of the second part is the mean of the other sentences.

With `expected`, D's loss on generated text is of the same kind, sum_t sum_w p(w | x_<t) loss(D(w)).
With `shared`, D's step draws the sentences and G's step learns on them too.

With `log_ratio`, D is a language model q, the softmax of its scores over the next token, and

    D_t(w) = log q(w | x_<t) - log p(w | x_<t) + v(x_<t),

the form of the optimal D, in which p is known and need not be learned (Finn et al. 2016). So q has
to learn the distribution of the text only, which does not change while G does. With the log-odds as
the reward, G's loss is KL(p || q) at each step, less v.
"""

from collections.abc import Sequence
from typing import Annotated, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext, NextTokenDiscriminator, StepPlan, Strategy
from core.nn.likelihood import expectation
from core.types import Embedded, Scores
from variants.estimator import SCORE_FUNCTION, discounted, subtract_others


class AllWords(Strategy):
    """All-actions policy gradient: the expected reward over every possible next token."""

    class Config(StrategyConfig):
        """Discount gamma of the rewards of later steps; what D's step has to do with G's."""

        gamma: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 0.0
        shared: bool = False  # G learns on the sentences of D's last step
        # D's loss on generated text is its mean over all next words, not that of the drawn words.
        expected: bool = False
        log_ratio: bool = False  # D's score is the log ratio of its probability of a word to G's

        @model_validator(mode="after")
        def _whole(self) -> "AllWords.Config":
            if self.log_ratio and not (self.expected and self.gamma == 0):
                raise ValueError("log_ratio = true needs expected = true and gamma = 0")
            return self

    offers = SCORE_FUNCTION
    needs = {
        "sampling": "hard_tokens",
        "discriminator": "next_token_scores",
        "objective": "mean_over_sentences",
    }
    paper = "Sutton et al. 2001; Ciosek & Whiteson 2018; Finn et al. 2016 (log_ratio)"
    target = "discounted"
    discriminator_evaluates = False  # as in `dense_reinforce`
    adds_entropy = True

    def __init__(self, config: Config) -> None:
        self.config = config
        self.plan = StepPlan(
            drawn_by="discriminator" if config.shared else "each",
            expected=config.expected,
            log_ratio=config.log_ratio,
        )

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """D's queries (N, S, F) and values (N, S), scores of real tokens (N, S) for relativistic
        objectives, advantages of later steps (N, S).
        """
        D = cast(NextTokenDiscriminator, context.discriminator)
        with torch.no_grad():
            queries, values = D.queries(Embedded.of(context.draw.d_input, D.embedding).values)
        real = context.real_scores()
        later = torch.zeros_like(values)
        if self.config.gamma > 0:
            rewards = context.masked(context.rewards().values)
            later = subtract_others(discounted(rewards, self.config.gamma) - rewards, context.mask)
        return queries, values, values if real is None else real.filled(), later

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """Minus the mean over sentences of the sum over visible steps of E (r - b log p): the
        expected reward, and b times the entropy in the same pass.
        """
        queries, values, real = (each.flatten(0, 1) for each in prepared[:3])  # (N S, ...)
        D = cast(NextTokenDiscriminator, context.discriminator)
        table, bonus = D.output_embedding.detach(), context.entropy_weight  # (V, F)

        def rewards(log_p: Tensor, places: Tensor) -> Tensor:
            scores = torch.addmm(values[places, None], queries[places], table.T)  # (M, V)
            if self.config.log_ratio:
                scores = scores.log_softmax(1).add_(values[places, None]).sub_(log_p)
            compared = Scores(real[places, None].expand_as(scores))
            found = context.objective.reward(Scores(scores), compared)
            return found.sub_(log_p, alpha=bonus) if bonus else found

        head = context.generator.head
        loss = -expectation(context.draw.hidden, head, context.mask, rewards)
        later = prepared[3]
        return loss if self.config.gamma == 0 else loss + context.policy_gradient_loss(later)
