"""SentiGAN (Wang & Wan 2018): G is penalised for tokens that D does not take for real.

The paper has k generators, one per sentiment, and one D with k + 1 classes: real text of each
sentiment, and generated text. With V_t the mean penalty 1 - D_i(x) over K completions of the first
t tokens (V_S is the sentence's own):

    D:    min  - sum_i E_{x ~ real_i} log D_i(x) - E_{x ~ G} log D_{k+1}(x)
    G_i:  min  E_{x ~ G_i} sum_t G_i(x_t | x_<t) V_t

The gradient is that of the probabilities G_i(x_t | x_<t), with V constant: a token of probability p
contributes p V_t grad log p. The loss penalises what G is confident of, while REINFORCE gives the
largest gradients to tokens that G rarely samples.

Deviations: k = 1, because our corpora have no labels: one class of real text, one of generated
text, D_1 = sigmoid(score). What remains of the paper is its penalty-based objective. Sentences are
sampled without the paper's random first input. D is SeqGAN's, as in the authors' code.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from core.interfaces import StepContext
from core.nn.likelihood import log_likelihood
from core.types import Phase, Progress, Shape, visible
from variants.system import (
    CNNSystem,
    Completions,
    SearchedSteps,
    SmallSize,
    Updates,
    cnn,
    language_model,
)


class SentiGAN(CNNSystem):
    """SentiGAN with one class: a penalty on token probabilities instead of a reward."""

    class Config(CNNSystem.Config):
        """Sizes of G and D; pretraining in updates, and the steps of an update."""

        width: SmallSize = 32
        output_decay: Annotated[float, Field(ge=0, le=10)] = 0.0  # L2 penalty on D's last layer
        completions: Completions = 16
        generator_updates: Updates = 1000  # of likelihood first
        discriminator_updates: Updates = 100  # of D alone, after them
        n_d: SearchedSteps = 5
        g_steps: SearchedSteps = 1

    paper = "Wang & Wan 2018"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width)
        self.discriminator = cnn(config, shape, config.output_decay)
        self.others = {"discriminator": self.discriminator}

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then D alone, then n_d : g_steps."""
        config = self.config
        if progress.update < config.generator_updates:
            return (Phase("generator", self.likelihood_loss, pretraining=True),)
        adversarial = progress.update - config.generator_updates - config.discriminator_updates
        if adversarial < 0:
            return (Phase("discriminator", self.discriminator_loss, pretraining=True),)
        first = adversarial == 0
        return (
            Phase("discriminator", self.discriminator_loss, config.n_d),
            Phase("generator", self.generator_loss, config.g_steps, reset_optimiser=first),
        )

    def generator_loss(self, context: StepContext) -> Tensor:
        """Sum over a sentence of each token's probability times its penalty."""
        draw = self.sample_with_grad(context)
        mask = visible(draw.tokens)
        penalties = 1 - self.mc_q_values(draw, self.config.completions, context)  # (N, S)
        context.metrics["train/fine"] = float((penalties * mask).sum() / mask.sum())
        p = log_likelihood(draw.hidden, self.generator.head, draw.tokens).exp()
        return (penalties * p * mask).sum(1).mean()
