"""The cost of the original: full attention over a growing prefix at every step, dense words.

The same modules, walked as the original walks them: `attention = "full"`, one graph over all
steps, one-hot real words (N, S, V), distributions held whole, a penalty on the gradient with
respect to a dense interpolate. A yardstick of cost, not of values.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import one_hot

from benchmarks.sizes import Setting
from core.interfaces import SamplingSpec
from core.training.rollout import unroll
from core.types import Scores
from tests.reference.dense import DenseWords


class Yardstick:
    """One step of each player, the original's way."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.players = replace(setting, kernels="torch").players("full")
        assert self.players.adversary is not None
        self.generator, self.adversary = self.players.generator, self.players.adversary
        self.spec = SamplingSpec(self.players.sampling)
        self.rng = torch.Generator(device=setting.place).manual_seed(0)

    def sample(self) -> None:
        """Draw a batch of sentences."""
        with torch.no_grad():
            self._hidden()

    def generator_step(self) -> None:
        """Draw with a graph, score, update G."""
        optimiser = self.players.trainable["generator"].optimiser
        optimiser.zero_grad(set_to_none=True)
        scores = self._score(self._probabilities())
        self.adversary.objective.generator(scores, None).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def discriminator_step(self) -> None:
        """Draw, score real and fake, penalise, update D."""
        optimiser, V = self.players.trainable["discriminator"].optimiser, self.setting.vocabulary
        optimiser.zero_grad(set_to_none=True)
        real = one_hot(self.setting.real(), V).float()  # (N, S, V)
        with torch.no_grad():
            fake = self._probabilities()
        loss = self.adversary.objective.discriminator(self._score(real), self._score(fake))
        eps = torch.rand(len(real), 1, 1, generator=self.rng, device=real.device)
        x = (eps * real + (1 - eps) * fake).requires_grad_(True)
        with sdpa_kernel(SDPBackend.MATH):
            (g,) = torch.autograd.grad(self._score(x).values.sum(), x, create_graph=True)
        penalty = 10.0 * ((g.flatten(1).norm(dim=1) - 1) ** 2).mean()
        (loss + penalty).backward()
        optimiser.step()

    def _score(self, words: Tensor) -> Scores:
        return Scores(self.adversary.discriminator(DenseWords(words)))

    def _probabilities(self) -> Tensor:
        return self.generator.head(self._hidden()).softmax(-1)  # (N, S, V)

    def _hidden(self) -> Tensor:
        noise = self.generator.draw_noise(self.setting.batch, self.rng)
        graph = torch.is_grad_enabled()
        return unroll(self.generator, self.spec, noise, (), differentiable=graph)[1]
