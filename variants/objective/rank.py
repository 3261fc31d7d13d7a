"""RankGAN's objective: D learns features by whose cosines real sentences rank above drawn ones.

    D: -E log R(real | U, C-) - E log(1 - R(fake | U, C+));    G: -E log R(fake | U, C+)

R as in `core.ranks`; references U are the batch's real sentences, the others C- its drawn ones and
C+ its real ones (Lin et al. 2017, equations 4 to 7). A sentence is not its own reference.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.ranks import log_complement, log_ranks
from core.types import Scores


class Rank:
    """Ranks among real sentences instead of scores."""

    class Config(StrategyConfig):
        """How sharply a cosine counts (gamma)."""

        name: Literal["rank"] = "rank"
        gamma: Annotated[float, Field(gt=0), Search(0.5, 20, log=True)] = 5.0

    offers = frozenset({"ranks"})
    needs: ClassVar[dict[str, str]] = {"discriminator": "features"}
    paper = "Lin et al. 2017"
    relativistic = True
    uses_features = True

    def __init__(self, config: Config) -> None:
        self.gamma = config.gamma

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """-E log R(real) - E log(1 - R(fake))."""
        r, f = _features(real), _features(fake)
        of_real = log_ranks(r, r, f, self.gamma)
        of_fake = log_ranks(f, r, r, self.gamma)
        return -of_real.mean() - log_complement(of_fake).mean()

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """-E log R(fake)."""
        return -self.reward(fake, real).mean()

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log R(fake)."""
        assert real is not None
        return log_ranks(_features(fake), _features(real), _features(real), self.gamma)


def _features(scores: Scores) -> Tensor:
    assert scores.features is not None
    return scores.features
