"""The core model: a transformer that turns noise into tokens.

Sinusoidal positions; B noise blocks (self-attention, add fresh noise, cross-attention to the
mapped noise, feed-forward) and O output blocks without noise, each sublayer norm(sublayer(x)) + x;
a linear layer to V tokens.

Step t reads the tokens before it and one next-step input (slot `next_input`). With one stream the
input is the last token. With two streams it is an extra row, a query that no later step sees. With
`attention = "causal"` the row of a token depends on no later row, so `step` (one or two new rows on
a key/value cache) and `parallel` (all S tokens and all S queries in one masked pass) are the same
function: a test compares values and gradients. `attention = "full"` is the original's: every step
computes the whole prefix again, unmasked, with new injected noise. It is kept for fidelity and as
the baseline of cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import NextInput, NoiseMapping, Strategy
from core.kernels.torch import TORCH, Decoder, DecoderStack, Kernels
from core.nn.layers import (
    AttentionMask,
    Block,
    NoiseBlock,
    causal_mask,
    sinusoidal,
    two_streams,
)  # fmt: skip
from core.nn.noise import draw_noise, dropout_masks, scaled
from core.seeding import draw_seed
from core.types import Noise, NoiseKind, Shape


@dataclass
class RolloutState:
    """A rollout in progress."""

    queries: Tensor  # (N, S, E) or (N, 1, E)
    decoder: Decoder
    masks: list[Tensor] | None
    step: int = 0


class TransformerGenerator(nn.Module, Strategy):
    """The original generator: a transformer that reads noise, with causal or full attention."""

    class Config(StrategyConfig):
        """Sizes; the depth M of the noise mapping is a setting of `noise_mapping`."""

        width: Annotated[int, Field(ge=2, le=8192), Search(64, 512, log=True)] = 64
        hidden: Annotated[int, Field(ge=1, le=65536), Search(64, 2048, log=True)] = 512
        heads: Annotated[int, Field(ge=1, le=128)] = 8
        noise_blocks: Annotated[int, Field(ge=0, le=64), Search(0, 8)] = 6
        output_blocks: Annotated[int, Field(ge=0, le=64), Search(1, 8)] = 6
        attention: Literal["causal", "full"] = "causal"
        # Of the inputs and of the outputs, one mask a sentence; None: no dropout.
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] | None = None

        @model_validator(mode="after")
        def _heads_divide_width(self) -> TransformerGenerator.Config:
            if self.width % self.heads:
                raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
            return self

    paper = "the original gan_textgen; Vaswani et al. 2017"

    kernels: Kernels = TORCH
    positions: Tensor

    def __init__(
        self, config: Config, shape: Shape, next_input: NextInput, noise_mapping: NoiseMapping
    ) -> None:
        super().__init__()
        E = config.width
        self.config, self.length, self.noise = config, shape.length, shape.noise
        self.next_input, self.noise_mapping = next_input, noise_mapping
        self.embedding = nn.Embedding(shape.vocabulary, E)
        self.noise_blocks = nn.ModuleList(
            NoiseBlock(E, config.hidden, config.heads) for _ in range(config.noise_blocks)
        )
        self.output_blocks = nn.ModuleList(
            Block(E, config.hidden, config.heads) for _ in range(config.output_blocks)
        )
        self.head = nn.Linear(E, shape.vocabulary)
        self.register_buffer("positions", sinusoidal(shape.length, E), persistent=False)

    # What is drawn, and where a rollout starts.

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """See `Generator.draw_noise`."""
        B, E, streams = len(self.noise_blocks), self.config.width, self.next_input.streams
        latent = self.noise_mapping.draw(count, rng, self.noise)
        inputs = self.next_input.draw(count, rng, self.noise)
        injected = None
        if self.config.attention == "causal" and B > 0:
            injected = draw_noise(self.noise, (B, streams, count, self.length, E), rng)
        redrawn = self.config.attention == "full" and B > 0
        noise = Noise(latent, inputs, injected, draw_seed(rng), count, redrawn=redrawn)
        return scaled(noise, scale)

    def begin(self, noise: Noise, differentiable: bool) -> RolloutState:
        """See `Generator.begin`."""
        stack = self._stack(noise)
        decoder: Decoder
        if self.config.attention == "full":
            decoder = FullPrefix(stack, self.noise, noise)
        else:
            decoder = (TORCH if differentiable else self.kernels).decoder(stack)
        queries = self.next_input.queries(noise.inputs, noise.count)
        return RolloutState(queries, decoder, self._masks(noise))

    def fork(self, state: RolloutState, rows: Tensor) -> RolloutState:
        """See `Generator.fork`."""
        masks = None if state.masks is None else [mask[rows] for mask in state.masks]
        return RolloutState(state.queries[rows], state.decoder.fork(rows), masks, state.step)

    # One step at a time.

    def step(self, state: RolloutState, last: Tensor | None) -> Tensor:
        """See `Generator.step`."""
        t = state.step
        state.step += 1
        if self.next_input.streams == 1:
            rows = [_input_row(state.queries, last, t)]
        else:
            rows = [state.queries[:, t]] if last is None else [last, state.queries[:, t]]
        start = t + 1 - len(rows)
        rows = [row + self.positions[start + p] for p, row in enumerate(rows)]
        if state.masks is None:
            return state.decoder.step(rows, start)
        before, after = (mask[:, 0] for mask in state.masks)
        return state.decoder.step([row * before for row in rows], start) * after

    # All steps at once.

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        S = tokens.shape[1]
        embedded = self.embed(tokens)  # (N, S, E)
        if self.config.attention == "full":
            state = self.begin(noise, differentiable=True)
            hidden = [self.step(state, None)]
            hidden += [self.step(state, embedded[:, t]) for t in range(S - 1)]
            return torch.stack(hidden, dim=1)
        queries = self.next_input.queries(noise.inputs, noise.count)
        injected = None if noise.injected is None else noise.injected[:, :, :, :S]
        if self.next_input.streams == 2:
            # No query reads the last token: its row is left out.
            before = embedded[:, :-1] + self.positions[: S - 1]
            x = torch.cat([before, queries[:, :S] + self.positions[:S]], dim=1)
            mask: AttentionMask = two_streams(S, x.device, x.dtype)
            if injected is not None:
                injected = torch.cat([injected[:, 0, :, : S - 1], injected[:, 1]], dim=2)
        else:
            x = _input_rows(queries, embedded) + self.positions[:S]
            mask = causal_mask(S, x.device)
            if injected is not None:
                injected = injected[:, 0]
        masks = self._masks(noise)
        if masks is None:
            return self._stack(noise)(x, mask, injected, slice(-S, None))
        return self._stack(noise)(x * masks[0], mask, injected, slice(-S, None)) * masks[1]

    # Words in and out.

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Generator.embed`."""
        return self.embedding(tokens)

    def _masks(self, noise: Noise) -> list[Tensor] | None:
        """Dropout masks (N, 1, E) of the inputs and of the outputs."""
        if not self.config.dropout or not self.training:
            return None
        return dropout_masks(noise, self.config.dropout, [self.config.width] * 2, self.head.weight)

    def _stack(self, noise: Noise) -> DecoderStack:
        """The blocks with keys and values of the mapped noise, computed once for all steps."""
        memories: list[Tensor | None] = [None] * len(self.noise_blocks)
        if noise.latent is not None:
            memory = self.noise_mapping(noise.latent)
            memories = [block.cross.key_value(memory) for block in self.noise_blocks]  # type: ignore[union-attr, operator]
        blocks = self.noise_blocks, self.output_blocks
        return DecoderStack(*blocks, memories, noise.injected, noise.count, self.length)  # type: ignore[arg-type]


class FullPrefix:
    """The original's decoder: every step computes the whole prefix again, unmasked, with new
    injected noise.
    """

    def __init__(self, stack: DecoderStack, kind: NoiseKind, noise: Noise) -> None:
        self.stack, self.kind, self.noise = stack, kind, noise
        self.rows: list[Tensor] = []  # (N, E) each

    def step(self, rows: Sequence[Tensor], start: int) -> Tensor:
        """See `core.kernels.Decoder`."""
        self.rows = [*self.rows[:start], *rows]
        x = torch.stack(self.rows, dim=1)  # (N, t + 1, E)
        injected, B, t = None, len(self.stack.noise_blocks), len(self.rows) - 1
        if B:
            rng = torch.Generator(device=x.device).manual_seed(self.noise.seed + t)
            injected = draw_noise(self.kind, (B, *x.shape), rng).to(x.dtype) * self.noise.scale
        return self.stack(x, None, injected, slice(-1, None))[:, -1]

    def fork(self, rows: Tensor) -> FullPrefix:
        """See `core.kernels.Decoder`."""
        copy = FullPrefix(self.stack.fork(rows), self.kind, self.noise)
        copy.rows = [row[rows] for row in self.rows]
        return copy


def _input_row(queries: Tensor, last: Tensor | None, t: int) -> Tensor:
    """One stream: the input of step t (N, E), the last token with the noise that is added to it."""
    if last is None:
        return queries[:, 0]
    return last if queries.shape[1] == 1 else last + queries[:, t]


def _input_rows(queries: Tensor, embedded: Tensor) -> Tensor:
    """`_input_row` for all steps at once, embedded tokens (N, S, E): (N, S, E)."""
    if queries.shape[1] == 1:
        return torch.cat([queries, embedded[:, :-1]], dim=1)
    before = torch.nn.functional.pad(embedded[:, :-1], (0, 0, 1, 0))
    return before + queries[:, : embedded.shape[1]]
