"""Maximum likelihood: one teacher-forced step of G on real sentences in every update."""

from collections.abc import Sequence

from core.interfaces import Strategy
from core.types import Phase, Progress


class MaximumLikelihood(Strategy):
    """Maximum likelihood without a discriminator: the baseline of every comparison."""

    needs = {"sampling": "likelihood"}
    adversarial = False

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """One likelihood step."""
        return (Phase("generator", "likelihood"),)
