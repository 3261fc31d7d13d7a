"""MaliGAN's estimator: sentences of a batch weighted by what D says their density ratio is.

    w_i = exp(f_i) / sum_j exp(f_j),    sum_i (w_i - b / N) grad log p(x_i)

At D's optimum exp(f) = D / (1 - D) = p_data / p_G, and the weights make draws of G stand for real
sentences: the gradient of the likelihood, by importance sampling normalised over the batch (Che et
al. 2017, equation 9). The paper raises b from 0 to 1; here it is a setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext


class MaliGAN:
    """Likelihood of drawn sentences, weighted by D's density ratio over the batch."""

    class Config(StrategyConfig):
        """The baseline b, as a share of the mean weight 1/N."""

        name: Literal["maligan"] = "maligan"
        baseline: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 1.0

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "hard_words", "objective": "log_ratio"}
    paper = "Che et al. 2017"
    target = "reweighted"

    def __init__(self, config: Config) -> None:
        self.baseline = config.baseline

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """N w_i - b, (N,): `policy_gradient_loss` takes a mean where the paper has a sum."""
        weights = context.detached_scores().per_sentence().softmax(0)
        return (len(weights) * weights - self.baseline,)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.climb`."""
        return context.policy_gradient_loss(prepared[0])
