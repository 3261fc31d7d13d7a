"""A fresh noise vector is the query of every step: q_t = z_t, next to the tokens (two streams).

Its distribution is `model.noise`.
"""

from variants.next_input import NoiseEveryStep


class NoiseInput(NoiseEveryStep):
    """A fresh noise vector is the query of every step."""

    paper = "the original gan_textgen"
    streams = 2
