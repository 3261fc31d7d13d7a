"""The token is argmax(l + g), a draw from softmax(l). D sees the token; the backward pass treats it
as softmax((l + g) / tau) (Jang et al. 2017, section 2.2).
"""

from torch import Tensor

from core.nn.discriminator_input import StraightThroughTokens, TokenMixture
from variants.sampling import SampledTokens


class StraightThroughGumbel(SampledTokens):
    """Straight-through Gumbel-softmax: the sampled token forwards, its relaxation backwards."""

    offers = frozenset({"differentiable_tokens", "likelihood"})
    paper = "Jang et al. 2017"
    tempered = True

    def visible(self, tokens: Tensor, distributions: TokenMixture) -> StraightThroughTokens:
        """The tokens, with the gradient of their relaxations."""
        return StraightThroughTokens(tokens, distributions)
