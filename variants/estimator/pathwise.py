"""Pathwise gradient: D's score is differentiated through what D sees of the tokens."""

from collections.abc import Sequence

from torch import Tensor

from core.interfaces import EstimatorContext, Strategy


class Pathwise(Strategy):
    """Backpropagation through D and the relaxed tokens that it sees (reparameterisation)."""

    offers = frozenset({"mean_over_sentences"})
    needs = {"sampling": "differentiable_tokens"}
    paper = "Kingma & Welling 2014"
    target = "relaxed"
    discriminator_evaluates = False  # as in RelGAN's code where D has dropout (rmc_vanilla)

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Nothing: a sentence's gradient depends on that sentence alone."""
        return ()

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """G's objective of D's scores."""
        return context.objective.generator(context.scores(), context.real_scores())
