"""The token is argmax(l + g), a draw from softmax(l). D sees the token; the backward pass treats it
as softmax((l + g) / tau) (Jang et al. 2017, section 2.2).
"""

from variants.sampling.straight_through import StraightThrough


class StraightThroughGumbel(StraightThrough):
    """Straight-through Gumbel-softmax: the sampled token forwards, its relaxation backwards."""

    paper = "Jang et al. 2017"
    tempered = True
