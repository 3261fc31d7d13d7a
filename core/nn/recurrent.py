"""Recurrent generators: everything around the body that carries the state.

The input of step t is the last word's embedding w_{t-1}, and where a query q_t asks for the word
(two streams), the query behind it:

    x_t = [w_{t-1} + m_t; q_t],    (h_t, state_t) = body(x_t, state_{t-1}),    l_t = W h_t + b

w_{-1} is the first input of one stream, zero with two; noise that one stream adds to every word is
part of w. Unlike an attention's query, q_t stays in the state: it is part of what the step has read
(Press et al. 2017). A mapped latent m (S rows) is read twice, as the latent of Zhang et al. 2017:
the initial state is tanh(C S^(-1/2) sum_t m_t), so that the first word knows of all of it, and row
t is added to the input of step t.

All words known, all inputs are known: `parallel` hands the body the whole sequence at once, and is
the same function as `step`.

Dropout keeps one mask a sentence for all steps (Gal & Ghahramani 2016), drawn again from the
noise's seed, so that both ways of evaluation see the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from core.interfaces import NextInput, NoiseMapping
from core.nn.noise import dropout_masks, scaled
from core.seeding import draw_seed
from core.types import Noise, Shape


class Body(Protocol):
    """What carries the state; a torch module."""

    hidden: int  # H, numbers of an output
    starts: int  # numbers of the part of the state that a latent may set
    depth: int  # layers; dropout masks the inputs and the outputs of each

    def begin(self, first: Tensor | None, count: int) -> Any:
        """The state before the first step; `first` (N, starts) sets what it may, None leaves it."""

    def fork(self, state: Any, rows: Tensor) -> Any:
        """The state of the sentences `rows` (K,), which may repeat."""

    def __call__(self, x: Tensor, state: Any, masks: list[Tensor] | None) -> tuple[Tensor, Any]:
        """P steps: inputs (N, P, I) to outputs (N, P, H) and the state behind the last."""


@dataclass
class RolloutState:
    """A rollout in progress."""

    queries: Tensor  # (N, S, E) or (N, 1, E)
    memory: Tensor | None  # (N, S, E), the mapped latent
    body: Any
    masks: list[Tensor] | None
    step: int = 0


class RecurrentGenerator(nn.Module, ABC):
    """A generator around a recurrent body; see the module. Its settings have `width` (E) and
    `dropout`.
    """

    def __init__(
        self, config: Any, shape: Shape, next_input: NextInput, noise_mapping: NoiseMapping
    ) -> None:
        super().__init__()
        self.length, self.noise = shape.length, shape.noise
        self.width, self.dropout = config.width, config.dropout
        self.body = self.new_body(config, config.width * next_input.streams)
        self.next_input, self.noise_mapping = next_input, noise_mapping
        self.embedding = nn.Embedding(shape.vocabulary, config.width)
        self.head = nn.Linear(self.body.hidden, shape.vocabulary)
        reads = "memory" in noise_mapping.offers
        self.start = nn.Linear(config.width, self.body.starts) if reads else None

    @abstractmethod
    def new_body(self, config: Any, inputs: int) -> Body:
        """The body, for inputs of this width."""

    # What is drawn, and where a rollout starts.

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """See `Generator.draw_noise`."""
        latent = self.noise_mapping.draw(count, rng, self.noise)
        inputs = self.next_input.draw(count, rng, self.noise)
        return scaled(Noise(latent, inputs, None, draw_seed(rng), count), scale)

    def begin(self, noise: Noise, differentiable: bool) -> RolloutState:
        """See `Generator.begin`; the state carries gradients whenever they are recorded."""
        queries = self.next_input.queries(noise.inputs, noise.count)
        memory = first = None
        if noise.latent is not None and self.start is not None:
            memory = self.noise_mapping(noise.latent)
            first = torch.tanh(self.start(memory.sum(1) / memory.shape[1] ** 0.5))
        body = self.body.begin(first, noise.count)
        return RolloutState(queries, memory, body, self._masks(noise))

    def fork(self, state: RolloutState, rows: Tensor) -> RolloutState:
        """See `Generator.fork`."""
        return RolloutState(
            state.queries[rows],
            None if state.memory is None else state.memory[rows],
            self.body.fork(state.body, rows),
            None if state.masks is None else [mask[rows] for mask in state.masks],
            state.step,
        )

    # One step at a time, all steps at once.

    def step(self, state: RolloutState, last: Tensor | None) -> Tensor:
        """See `Generator.step`."""
        words = self._first(state.queries) if last is None else last[:, None]
        x = self._inputs(words, state, state.step)
        hidden, state.body = self.body(x, state.body, state.masks)
        state.step += 1
        return hidden[:, 0]

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        state = self.begin(noise, differentiable=True)
        words = torch.cat([self._first(state.queries), self.embed(tokens[:, :-1])], dim=1)
        return self.body(self._inputs(words, state, 0), state.body, state.masks)[0]

    def _first(self, queries: Tensor) -> Tensor:
        """What stands where the first step has no last word: (N, 1, E)."""
        first = queries[:, :1]
        own = self.next_input.streams == 1 and queries.shape[1] == 1
        return first if own else torch.zeros_like(first)

    def _inputs(self, words: Tensor, state: RolloutState, start: int) -> Tensor:
        """Inputs (N, P, I) of P steps from `start` on, of the words before them (N, P, E)."""
        steps = slice(start, start + words.shape[1])
        x = words if state.memory is None else words + state.memory[:, steps]
        if self.next_input.streams == 2:
            x = torch.cat([x, state.queries[:, steps]], dim=-1)
        elif state.queries.shape[1] > 1:  # added to the last word
            x = x + state.queries[:, steps]
        return x

    def _masks(self, noise: Noise) -> list[Tensor] | None:
        if self.dropout == 0 or not self.training:
            return None
        widths = [self.width * self.next_input.streams, *[self.body.hidden] * self.body.depth]
        return dropout_masks(noise, self.dropout, widths, self.head.weight)

    # Words in and out.

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Generator.embed`."""
        return self.embedding(tokens)


class TiedHead(nn.Linear):
    """A vocabulary head whose weight is the embedding table: l = W h + b, h (..., E). The table
    starts small, for logits that start small.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        nn.Module.__init__(self)
        nn.init.xavier_uniform_(embedding.weight)
        self.out_features, self.in_features = embedding.weight.shape
        self._embedding = [embedding]  # in a list: no second entry among the weights
        self.bias = nn.Parameter(torch.zeros(self.out_features))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The table (V, E)."""
        return self._embedding[0].weight


class Stack(nn.Module):
    """L layers of torch's own LSTM or GRU, one above another; dropout before and behind each. With
    `outputs` E, inputs pass a matrix W (H, I) before the first layer, and outputs the transpose of
    its first E columns after the last one.
    """

    def __init__(
        self,
        kind: type[nn.LSTM] | type[nn.GRU],
        inputs: int,
        hidden: int,
        layers: int,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.project = None if outputs is None else nn.Linear(inputs, hidden, bias=False)
        self.outputs, inputs = outputs, inputs if outputs is None else hidden
        self.hidden, self.starts, self.depth = hidden, hidden * layers, layers
        self.layers = nn.ModuleList(
            kind(inputs if layer == 0 else hidden, hidden, batch_first=True)
            for layer in range(layers)
        )

    def begin(self, first: Tensor | None, count: int) -> list[Any]:
        """The state of each layer; None is zero. `first` sets h, a cell c begins at zero."""
        if first is None:
            return [None] * len(self.layers)
        parts = [h[None].contiguous() for h in first.chunk(len(self.layers), dim=1)]
        if isinstance(self.layers[0], nn.LSTM):
            return [(h, torch.zeros_like(h)) for h in parts]
        return list(parts)

    def fork(self, state: list[Any], rows: Tensor) -> list[Any]:
        """See `Body.fork`."""
        return [select_rows(before, rows) for before in state]

    def forward(
        self, x: Tensor, state: list[Any], masks: list[Tensor] | None
    ) -> tuple[Tensor, list[Any]]:
        """See `Body.__call__`."""
        if masks is not None:
            x = x * masks[0]
        if self.project is not None:
            x = self.project(x)
        after = []
        for number, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            x, new = layer(x, before)
            after.append(new)
            if masks is not None:
                x = x * masks[number + 1]
        if self.project is not None:
            x = x @ self.project.weight[:, : self.outputs]
        return x, after


def select_rows(state: Any, rows: Tensor) -> Any:
    """The sentences `rows` (K,) of the state of torch's recurrent layers: None, h or (h, c)."""
    if isinstance(state, tuple):
        return tuple(part[:, rows] for part in state)
    return None if state is None else state[:, rows]
