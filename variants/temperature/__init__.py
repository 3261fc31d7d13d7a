"""The sampling temperature over a run. `progress` is the fraction of it that is done."""

from typing import Annotated

from pydantic import Field

from core.config import Search, StrategyConfig
from core.interfaces import Strategy


class Annealed(Strategy):
    """A temperature that falls from 1 to 1 / beta_max (RelGAN, Nie et al. 2019, section 3.4)."""

    class Config(StrategyConfig):
        """The inverse temperature at the end, and when that is."""

        beta_max: Annotated[float, Field(ge=1), Search(1, 1000, log=True)] = 100.0
        # Updates of adversarial training; None: the end of the run (`train.progress`).
        steps: Annotated[int, Field(ge=1)] | None = None

    paper = "Nie et al. 2019"

    def __init__(self, config: Config) -> None:
        self.config, self.steps = config, config.steps
