"""JSDGAN (Li et al. 2019): the discriminator is known in closed form, so there is none.

Over all sentences x, with P the distribution of the n training sentences and Q that of G,

    D(x) = P(x) / (P(x) + Q(x)),    G:  min  E_{x ~ P} log D(x) + E_{x ~ Q} log(1 - D(x))

which is 2 JSD(P, Q) - 2 log 2 at this D. Where P is zero D is zero, so the second mean has terms
at training sentences only and nothing has to be drawn. With r(x) = Q(x) / P(x) it is one mean over
real text, which a batch estimates without bias:

    JSD(P, Q) = log 2 + 1/2 E_{x ~ P} [ log 1 / (1 + r) + r log r / (1 + r) ]
    grad JSD  = 1/2 E_{x ~ P} [ r log(r / (1 + r)) grad log Q(x) ]

that is, the factor Q(x) log(1 - D(x)) on each training sentence's log-likelihood; G's loss is JSD
itself. Here P(x) = 1/n: sentences that a corpus holds more than once (those of a grammar's sample
may be) are counted apart, which gives each too large an r. A sentence is its words up to and with
the end token.

Unclear to us in the paper, so this is our choice: what is done about the size of Q(x), which is
e^-16 and less for whole sentences, so that early gradients vanish. Some implementations rescale Q
within a batch and set P to one over the batch; then the loss is no JSD of the corpus. We keep the
JSD, and let likelihood come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.moves import imitate, nats
from core.types import Phase, Progress, Shape
from variants.generator.lstm import LSTMGenerator, language_model
from variants.sampling.categorical import Categorical


class JSDGAN:
    """The Jensen-Shannon divergence of G from the training sentences, by G's own likelihood."""

    class Config(StrategyConfig):
        """Sizes of G, an LSTM, and updates of likelihood at first."""

        name: Literal["jsdgan"] = "jsdgan"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        layers: Annotated[int, Field(ge=1, le=16)] = 1
        generator_updates: Annotated[int, Field(ge=0)] = 1000

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Li et al. 2019"
    adversarial = False
    sampling = Categorical(Categorical.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width, config.layers)
        self.others: dict[str, LSTMGenerator] = {}

    @staticmethod
    def temperature(progress: float) -> float:
        """Words are drawn as they come."""
        return 1.0

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then the divergence."""
        early = progress.update < self.config.generator_updates
        return (Phase("generator", self.imitate if early else self.approach),)

    def imitate(self, context: StepContext) -> Tensor:
        """Likelihood of real text in nats a word."""
        return imitate(self.generator, context)

    def approach(self, context: StepContext) -> Tensor:
        """JSD(P, Q) in nats, between 0 and log 2."""
        log_q = -nats(self.generator, context.next_batch(), context).sum(1)
        log_r = log_q + math.log(context.train_size)
        real, fake = -softplus(log_r), -softplus(-log_r)  # log D, log(1 - D)
        context.metrics["train/log_ratio"] = float(log_r.detach().mean())
        return math.log(2) + (real + log_r.exp() * fake).mean() / 2
