"""Players of a language of three words and two or three steps, in float64.

G's logits are linear in the words so far: l_t = a_t + sum_{s < t} e_s B_{ts}, with one-hot words
e_s, or mixtures of them. With two steps every language has such a G. D is a small random network
over its own embeddings of the words, for whole sentences or, causally, for each step.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.seeding import generator as stream
from core.sentences import Noise, Words

V = 3
D_WIDTH, D_FEATURES = 2, 6
FLOAT = torch.float64


class LinearGenerator(nn.Module):
    """See the module; also a `Generator` like any other."""

    def __init__(self, length: int, seed: int = 0) -> None:
        super().__init__()
        self.length = length
        rng = stream(seed, "laboratory generator")
        shapes = ((length, V), (length, length, V, V))
        # Half as large: no sentence is so rare that a few hundred batches miss it.
        drawn = (torch.randn(shape, generator=rng, dtype=FLOAT) / 2 for shape in shapes)
        self.first, self.later = (nn.Parameter(weights) for weights in drawn)
        self.embedding = nn.Embedding(V, V, _weight=torch.eye(V, dtype=FLOAT), _freeze=True)
        self.head = nn.Linear(V, V, dtype=FLOAT).requires_grad_(False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(V))
            self.head.bias.zero_()

    def at(self, step: int, before: list[Tensor]) -> Tensor:
        """Logits (N, V) of a step, given the words before it, (N, V) each."""
        logits = self.first[step]
        for s, word in enumerate(before):
            logits = logits + word @ self.later[step, s]
        return logits

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """Nothing: all chance is in the sampling."""
        return Noise(None, None, None, 0, count, scale)

    def begin(self, noise: Noise, differentiable: bool) -> tuple[int, list[Tensor]]:
        """See `Generator.begin`."""
        return noise.count, []

    def fork(self, state: Any, rows: Tensor) -> tuple[int, list[Tensor]]:
        """See `Generator.fork`."""
        return len(rows), [word[rows] for word in state[1]]

    def step(self, state: Any, last: Tensor | None) -> Tensor:
        """See `Generator.step`."""
        count, words = state
        if last is not None:
            words.append(last)
        return self.at(len(words), words).expand(count, V)

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        words = list(self.embed(tokens).unbind(1))
        steps = [self.at(t, words[:t]).expand(len(tokens), V) for t in range(tokens.shape[1])]
        return torch.stack(steps, dim=1)

    def logits(self, hidden: Tensor) -> Tensor:
        """See `Generator.logits`."""
        result: Tensor = self.head(hidden)
        return result

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Generator.embed`."""
        result: Tensor = self.embedding(tokens)
        return result


class SmallDiscriminator(nn.Module):
    """A score of whole sentences: w . tanh(A x + c) over all embedded words x."""

    offers: ClassVar[frozenset[str]] = frozenset({"scores", "embedded_words", "features"})

    def __init__(self, length: int, seed: int = 0) -> None:
        super().__init__()
        rng = stream(seed, "laboratory discriminator")

        def random(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=rng, dtype=FLOAT), requires_grad=False)

        self.embedding: Tensor = random(V, D_WIDTH)
        self.weight, self.shift = random(length * D_WIDTH, D_FEATURES), random(D_FEATURES)
        self.out = random(D_FEATURES)

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """tanh(A x + c), (N, F), of what is visible."""
        x = embedded if mask is None else embedded * mask.unsqueeze(-1)
        return torch.tanh(x.flatten(1) @ self.weight + self.shift)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Scores (N,)."""
        return self.features(embedded, mask) @ self.out

    def __call__(self, words: Words) -> Tensor:
        """See `Discriminator.__call__`."""
        return self.score(words.embed(self.embedding), words.mask)


class StepDiscriminator(SmallDiscriminator):
    """A score of each step, of the words up to it: the later ones are taken as zero."""

    offers: ClassVar[frozenset[str]] = frozenset({"step_scores", "embedded_words"})

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Scores (N, S)."""
        S = embedded.shape[1]
        steps = []
        for t in range(S):
            known = torch.zeros(S, 1, dtype=embedded.dtype)
            known[: t + 1] = 1
            steps.append(self.features(embedded * known, mask) @ self.out)
        return torch.stack(steps, dim=1)


class WordDiscriminator(SmallDiscriminator):
    """A score of each step, bilinear in its word: <q(x_<t), e_(x_t)> + v(x_<t)."""

    offers: ClassVar[frozenset[str]] = frozenset({"step_scores", "word_scores", "embedded_words"})

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Q (N, S, E) and v (N, S), of the words before each step."""
        S, known = embedded.shape[1], embedded.new_zeros(embedded.shape[1], 1)
        queries, values = [], []
        for t in range(S):
            state = self.features(embedded * known, None)  # (N, F)
            queries.append(state[:, :D_WIDTH])
            values.append(state @ self.out)
            known = known.clone()
            known[t] = 1
        return torch.stack(queries, dim=1), torch.stack(values, dim=1)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Scores (N, S)."""
        queries, values = self.queries(embedded)
        return (queries * embedded).sum(-1) + values


def sentences(length: int) -> Tensor:
    """Every sentence there is, (V^S, S)."""
    return torch.tensor(list(itertools.product(range(V), repeat=length)))


def log_likelihood(generator: LinearGenerator, tokens: Tensor) -> Tensor:
    """Log p (N, S) of every word, plainly."""
    log_p = generator.parallel(tokens, generator.draw_noise(len(tokens), torch.Generator()))
    return log_p.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
