"""Players for a language of three tokens and two or three steps, in float64.

G's logits are linear in the tokens so far: l_t = a_t + sum_{s < t} e_s B_{ts}, with e_s a one-hot
token or a mixture of tokens. With two steps, every distribution over sentences has such a G. D is a
small random network over its own token embeddings: one score per sentence, or one per step that
depends only on the tokens up to that step.
"""

import itertools
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.seeding import generator as stream
from core.types import DiscriminatorInput, Noise

V = 3
WIDTH, FEATURES = 2, 6  # of the discriminators
FLOAT = torch.float64


class ToyGenerator(nn.Module):
    """A `Generator` whose logits are linear in one-hot tokens; see the module."""

    def __init__(self, length: int, seed: int = 0) -> None:
        super().__init__()
        self.length = length
        rng = stream(seed, "laboratory generator")
        shapes = ((length, V), (length, length, V, V))
        # Halved, so that no sentence is so rare that a few hundred batches miss it.
        drawn = (torch.randn(shape, generator=rng, dtype=FLOAT) / 2 for shape in shapes)
        self.first, self.later = (nn.Parameter(weights) for weights in drawn)
        self.embedding = nn.Embedding(V, V, _weight=torch.eye(V, dtype=FLOAT), _freeze=True)
        self.head = nn.Linear(V, V, dtype=FLOAT).requires_grad_(False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(V))
            self.head.bias.zero_()

    def at(self, step: int, previous: list[Tensor]) -> Tensor:
        """Logits (N, V) of a step, given the earlier tokens as rows (N, V)."""
        logits = self.first[step]
        for s, token in enumerate(previous):
            logits = logits + token @ self.later[step, s]
        return logits

    def draw_noise(self, count: int, rng: torch.Generator | None, scale: float = 1.0) -> Noise:
        """No noise: all randomness is in the sampling."""
        return Noise(None, None, None, 0, count, scale)

    def begin(self, noise: Noise, differentiable: bool) -> tuple[int, list[Tensor]]:
        """See `Generator.begin`."""
        return noise.count, []

    def fork(self, state: Any, rows: Tensor) -> tuple[int, list[Tensor]]:
        """See `Generator.fork`."""
        return len(rows), [token[rows] for token in state[1]]

    def step(self, state: Any, last: Tensor | None) -> Tensor:
        """See `Generator.step`."""
        count, previous = state
        if last is not None:
            previous.append(last)
        return self.at(len(previous), previous).expand(count, V)

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        rows = list(self.embed(tokens).unbind(1))
        steps = [self.at(t, rows[:t]).expand(len(tokens), V) for t in range(tokens.shape[1])]
        return torch.stack(steps, dim=1)

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Generator.embed`."""
        return self.embedding(tokens)


class ToyDiscriminator(nn.Module):
    """One score per sentence: w . tanh(A x + c), with x all embedded tokens."""

    offers: ClassVar[frozenset[str]] = frozenset({"scores", "embedded_tokens", "features"})

    def __init__(self, length: int, seed: int = 0) -> None:
        super().__init__()
        rng = stream(seed, "laboratory discriminator")

        def random(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=rng, dtype=FLOAT), requires_grad=False)

        self.embedding: Tensor = random(V, WIDTH)
        self.weight, self.shift = random(length * WIDTH, FEATURES), random(FEATURES)
        self.out = random(FEATURES)

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """tanh(A x + c), (N, F), of the visible tokens."""
        x = embedded if mask is None else embedded * mask.unsqueeze(-1)
        return torch.tanh(x.flatten(1) @ self.weight + self.shift)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Scores (N,)."""
        return self.features(embedded, mask) @ self.out

    def __call__(self, d_input: DiscriminatorInput) -> Tensor:
        """See `Discriminator.__call__`."""
        return self.score(d_input.embed(self.embedding), d_input.mask)


class ToyStepDiscriminator(ToyDiscriminator):
    """One score per step, of the tokens up to it; later tokens count as zero."""

    offers: ClassVar[frozenset[str]] = frozenset({"step_scores", "embedded_tokens"})

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Scores (N, S)."""
        prefixes = torch.ones(embedded.shape[1], embedded.shape[1]).tril().to(embedded.dtype)
        steps = [self.features(embedded * p.unsqueeze(-1), mask) @ self.out for p in prefixes]
        return torch.stack(steps, dim=1)


class ToyProjection(ToyDiscriminator):
    """One score per step, bilinear in the step's token: <q(x_<t), e_(x_t)> + v(x_<t)."""

    offers: ClassVar[frozenset[str]] = frozenset(
        {"step_scores", "next_token_scores", "embedded_tokens"}
    )

    @property
    def output_embedding(self) -> Tensor:
        """E_w (V, E)."""
        return self.embedding

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Q (N, S, E) and v (N, S) of the tokens before each step."""
        earlier = torch.ones(embedded.shape[1], embedded.shape[1]).tril(-1).to(embedded.dtype)
        states = [self.features(embedded * e.unsqueeze(-1), None) for e in earlier]  # (N, F) each
        queries = torch.stack([state[:, :WIDTH] for state in states], dim=1)
        return queries, torch.stack([state @ self.out for state in states], dim=1)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Scores (N, S)."""
        queries, values = self.queries(embedded)
        return (queries * embedded).sum(-1) + values


def sentences(length: int) -> Tensor:
    """Every sentence of the language, (V^S, S)."""
    return torch.tensor(list(itertools.product(range(V), repeat=length)))


def log_likelihood(generator: ToyGenerator, tokens: Tensor) -> Tensor:
    """Log p (N, S) of every token."""
    log_p = generator.parallel(tokens, generator.draw_noise(len(tokens), None))
    return log_p.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
