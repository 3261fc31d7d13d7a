"""A token drawn from softmax(l). D sees its id, so no gradient passes from D to G.

For likelihood training and for score-function estimators.
"""

from torch import Tensor

from core.nn.discriminator_input import HardTokens, TokenMixture
from variants.sampling import SampledTokens


class Categorical(SampledTokens):
    """A draw from softmax(l); D sees token ids."""

    offers = frozenset({"hard_tokens", "likelihood"})
    needs = {"estimator": "score_function"}

    def visible(self, tokens: Tensor, distributions: TokenMixture) -> HardTokens:
        """The token ids (N, S)."""
        return HardTokens(tokens, distributions.mask)
