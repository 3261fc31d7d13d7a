"""A fresh noise vector is the query of every step: q_t = z_t, next to the tokens (two streams)."""

from typing import Literal

from core.config import StrategyConfig
from variants.next_input import NoiseEveryStep


class NoiseInput(NoiseEveryStep):
    """A fresh noise vector is the query of every step."""

    class Config(StrategyConfig):
        """No settings; the distribution is `model.noise`."""

        name: Literal["noise"] = "noise"

    paper = "the original gan_textgen"
    streams = 2
