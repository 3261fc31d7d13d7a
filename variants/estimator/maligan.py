"""MaliGAN: weights the sentences of a batch with D's estimate of their density ratio.

    w_i = exp(f_i) / sum_j exp(f_j),    sum_i (w_i - b / N) grad log p(x_i)

At D's optimum exp(f) = D / (1 - D) = p_data / p_G, so this is the likelihood gradient of real
sentences by importance sampling from G, normalised over the batch (Che et al. 2017, equation 9).
The paper raises b from 0 to 1; here it is a setting.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from variants.estimator import PolicyGradient


class MaliGAN(PolicyGradient):
    """Likelihood of generated sentences, weighted by D's density ratio over the batch."""

    class Config(StrategyConfig):
        """The baseline b, as a fraction of the mean weight 1/N."""

        baseline: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 1.0

    needs = {"sampling": "hard_tokens", "objective": "log_ratio"}
    paper = "Che et al. 2017"
    target = "reweighted"

    def advantages(self, context: EstimatorContext) -> Tensor:
        """N w_i - b, (N,): the loss is a mean where the paper has a sum."""
        weights = context.detached_scores().per_sentence().softmax(0)
        return len(weights) * weights - self.config.baseline
