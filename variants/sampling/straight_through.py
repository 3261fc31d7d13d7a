"""A token drawn from softmax(l). D sees the token; the backward pass treats it as softmax(l)
(Bengio et al. 2013).
"""

from torch import Tensor

from core.nn.discriminator_input import StraightThroughTokens, TokenMixture
from variants.sampling import SampledTokens


class StraightThrough(SampledTokens):
    """Straight-through estimator: the sampled token forwards, softmax(l) backwards."""

    offers = frozenset({"differentiable_tokens", "likelihood"})
    paper = "Bengio et al. 2013"

    def visible(self, tokens: Tensor, distributions: TokenMixture) -> StraightThroughTokens:
        """The tokens, with the gradient of their distributions."""
        return StraightThroughTokens(tokens, distributions)
