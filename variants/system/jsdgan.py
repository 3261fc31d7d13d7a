"""JSDGAN (Li et al. 2019): the optimal discriminator is known in closed form, so there is none.

Over all sentences x, with P the distribution of the n training sentences and Q that of G,

    D(x) = P(x) / (P(x) + Q(x)),    G:  min  E_{x ~ P} log D(x) + E_{x ~ Q} log(1 - D(x))

which is 2 JSD(P, Q) - 2 log 2 for this D. D is zero where P is zero, so the second mean has terms
only at training sentences and nothing has to be sampled. With r(x) = Q(x) / P(x) it is one mean
over real text, which a batch estimates without bias:

    JSD(P, Q) = log 2 + 1/2 E_{x ~ P} [ log 1 / (1 + r) + r log r / (1 + r) ]
    grad JSD  = 1/2 E_{x ~ P} [ r log(r / (1 + r)) grad log Q(x) ]

that is, the factor Q(x) log(1 - D(x)) on the log-likelihood of each training sentence. G's loss is
the JSD itself. Here P(x) = 1/n: duplicates of a corpus (a grammar's sample has some) count
separately, which makes their r too large. A sentence is its tokens up to and including the end.

Q(x) is e^-16 and less for whole sentences, so that early gradients vanish. TextGAN-PyTorch rescales
Q within a batch and sets P to one over the batch; the loss is then no JSD of the corpus. What the
authors do is unknown to us: we have not read their text, and they have no public code. We keep the
JSD and pretrain with likelihood.
"""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.interfaces import StepContext
from core.training.scoring import token_nll
from core.types import Phase, Progress, Shape
from variants.system import Layers, SmallSize, Updates, WholeSystem, language_model


class JSDGAN(WholeSystem):
    """JSDGAN: the Jensen-Shannon divergence from the training sentences, in closed form."""

    class Config(StrategyConfig):
        """Sizes of G, an LSTM, and updates of likelihood first."""

        width: SmallSize = 32
        layers: Layers = 1
        generator_updates: Updates = 1000

    paper = "Li et al. 2019"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.generator = language_model(shape, config.width, config.layers)
        self.others = {}

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood, then the divergence."""
        divergence = progress.update - self.config.generator_updates
        if divergence < 0:
            return (Phase("generator", self.likelihood_loss, pretraining=True),)
        return (Phase("generator", self.generator_loss, reset_optimiser=divergence == 0),)

    def generator_loss(self, context: StepContext) -> Tensor:
        """JSD(P, Q) in nats, between 0 and log 2."""
        log_q = -token_nll(self.generator, context.next_batch(), context.rng("likelihood")).sum(1)
        log_r = log_q + math.log(context.train_size)
        log_d, log_not_d = -softplus(log_r), -softplus(-log_r)  # log D, log(1 - D)
        context.metrics["train/log_ratio"] = float(log_r.detach().mean())
        return math.log(2) + (log_d + log_r.exp() * log_not_d).mean() / 2
