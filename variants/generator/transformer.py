"""The core model: a transformer that turns noise into words.

Sinusoidal positions; B noise blocks (self-attention, add fresh noise, cross-attention to the
mapped noise, feed-forward) and O output blocks without noise, each sublayer norm(sublayer(x)) + x;
a linear layer to V words.

Step t reads the words before it and one input that asks for the next word (slot `next_input`).
With one stream that input is the last word; with two it is a query beside the words, which no
later step sees. Under `attention = "causal"` a word's row then depends on nothing behind it, so
`step` (one or two new rows on a key/value cache) and `parallel` (all S words and all S queries in
one pass under a mask) are the same function: values and gradients agree, and a test proves it.
`attention = "full"` is the original's pattern: at every step the whole prefix again, unmasked,
with injected noise drawn anew; kept for fidelity and as the yardstick of cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import NextInput, NoiseMapping
from core.nn.attention import AttentionMask, GrowingCache, causal_mask, two_stream_mask
from core.nn.decoding import decode
from core.nn.layers import EVERY, Block, NoiseBlock, Step, sinusoidal
from core.nn.noise import draw_noise, injected_rows, rows_of, scaled
from core.nn.walk import Decoder, Walk
from core.seeding import draw_seed
from core.types import Noise, Shape

Memory = Tensor | None  # (N, S, 2E), keys and values of the mapped noise


@dataclass
class RolloutState:
    """A rollout in progress: what was drawn, what was computed, the words embedded so far."""

    noise: Noise
    queries: Tensor  # (N, S, E) or (N, 1, E)
    memories: list[Memory]  # of each noise block
    cache: GrowingCache
    words: list[Tensor] = field(default_factory=list)  # (N, E) each


@dataclass
class Decoding:
    """A rollout without gradient in progress."""

    queries: Tensor  # (N, S, E) or (N, 1, E)
    decoder: Decoder
    step: int = 0


class TransformerGenerator(nn.Module):
    """The original's generator, with causal attention or its own full one."""

    class Config(StrategyConfig):
        """Sizes; the mapping's depth M stands with the noise mapping."""

        name: Literal["transformer"] = "transformer"
        width: Annotated[int, Field(ge=2, le=8192), Search(64, 512, log=True)] = 64
        hidden: Annotated[int, Field(ge=1, le=65536), Search(64, 2048, log=True)] = 512
        heads: Annotated[int, Field(ge=1, le=128)] = 8
        noise_blocks: Annotated[int, Field(ge=0, le=64), Search(0, 8)] = 6
        output_blocks: Annotated[int, Field(ge=0, le=64), Search(1, 8)] = 6
        attention: Literal["causal", "full"] = "causal"

        @model_validator(mode="after")
        def _heads_divide_width(self) -> TransformerGenerator.Config:
            if self.width % self.heads:
                raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
            return self

    offers = frozenset({"generator", "capture"})
    needs: ClassVar[dict[str, str]] = {"next_input": "next_input"}
    paper = "the original gan_textgen; Vaswani et al. 2017"

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

    def begin(self, noise: Noise, differentiable: bool) -> RolloutState | Decoding:
        """See `Generator.begin`."""
        queries = self.next_input.queries(noise.inputs, noise.count)
        memories = self._memories(noise)
        if differentiable or self.config.attention == "full":
            return RolloutState(noise, queries, memories, GrowingCache(self._layers))
        blocks = self.noise_blocks, self.output_blocks
        pairs = zip(self.noise_blocks, memories, strict=True)
        heads = [None if m is None else block.cross.split(m) for block, m in pairs]  # type: ignore[operator]
        walk = Walk(*blocks, heads, noise.injected, noise.count, self.length)  # type: ignore[arg-type]
        decoder = decode(walk)
        return Decoding(queries, decoder)

    def fork(self, state: RolloutState | Decoding, rows: Tensor) -> RolloutState | Decoding:
        """See `Generator.fork`."""
        queries = state.queries[rows]
        if isinstance(state, Decoding):
            return Decoding(queries, state.decoder.fork(rows), state.step)
        noise = rows_of(state.noise, rows)
        memories = [None if m is None else m[rows] for m in state.memories]
        words = [words[rows] for words in state.words]
        return RolloutState(noise, queries, memories, state.cache.fork(rows), words)

    # One step at a time.

    def step(self, state: RolloutState | Decoding, last: Tensor | None) -> Tensor:
        """See `Generator.step`."""
        if isinstance(state, Decoding):
            state.step += 1
            return state.decoder.step(*self._rows(state.queries, last, state.step - 1))
        if last is not None:
            state.words.append(last)
        t = len(state.words)
        if self.config.attention == "full":
            return self._full_step(state, t)
        rows, first = self._rows(state.queries, last, t)
        x = torch.stack(rows, dim=1)  # (N, P, E)
        injected = state.noise.injected
        if injected is not None:
            injected = injected_rows(injected, first, len(rows)).transpose(1, 2)  # (B, N, P, E)
        mask = _last_word_mask(t, x.device) if len(rows) == 2 else None
        where = [Step(state.cache, layer, first, mask) for layer in range(self._layers)]
        return self._through(x, where, injected, state.memories, slice(-1, None))[:, -1]

    def _rows(self, queries: Tensor, last: Tensor | None, t: int) -> tuple[list[Tensor], int]:
        """What step t adds: rows (N, E) with their positions, and the position of the first."""
        if self.next_input.streams == 1:
            rows = [_asking(queries, last, t)]
        else:
            rows = [queries[:, t]] if last is None else [last, queries[:, t]]
        first = t + 1 - len(rows)
        return [row + self.positions[first + p] for p, row in enumerate(rows)], first

    def _full_step(self, state: RolloutState, t: int) -> Tensor:
        """The original: the whole prefix again, unmasked, injected noise drawn anew."""
        if self.next_input.streams == 2:
            rows = [*state.words, state.queries[:, t]]
        else:
            before = [None, *state.words]
            rows = [_asking(state.queries, last, place) for place, last in enumerate(before)]
        x = torch.stack(rows, dim=1) + self.positions[: t + 1]  # (N, t + 1, E)
        injected = None
        if self.noise_blocks:
            rng = torch.Generator(device=x.device).manual_seed(state.noise.seed + t)
            shape = (len(self.noise_blocks), *x.shape)
            injected = draw_noise(self.noise, shape, rng).to(x.dtype) * state.noise.scale
        where = [None] * self._layers
        return self._through(x, where, injected, state.memories, slice(-1, None))[:, -1]

    # All steps at once.

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        S = tokens.shape[1]
        words = self.embed(tokens)  # (N, S, E)
        queries = self.next_input.queries(noise.inputs, noise.count)
        if self.config.attention == "full":
            return self._full_parallel(words, queries, noise)
        injected = None if noise.injected is None else noise.injected[:, :, :, :S]
        if self.next_input.streams == 2:
            # The last word is asked for, but asks for nothing: its row is left out.
            x = torch.cat(
                [words[:, :-1] + self.positions[: S - 1], queries[:, :S] + self.positions[:S]],
                dim=1,
            )
            mask = two_stream_mask(S, x.device)
            if injected is not None:
                injected = torch.cat([injected[:, 0, :, : S - 1], injected[:, 1]], dim=2)
        else:
            x = _asked(queries, words) + self.positions[:S]
            mask = causal_mask(S, x.device)
            if injected is not None:
                injected = injected[:, 0]
        where = [mask] * self._layers
        return self._through(x, where, injected, self._memories(noise), slice(-S, None))

    def _full_parallel(self, words: Tensor, queries: Tensor, noise: Noise) -> Tensor:
        cache = GrowingCache(0)
        state = RolloutState(noise, queries, self._memories(noise), cache)
        hidden = [self.step(state, None)]
        hidden += [self.step(state, words[:, t]) for t in range(words.shape[1] - 1)]
        return torch.stack(hidden, dim=1)

    # Words in and out.

    def logits(self, hidden: Tensor) -> Tensor:
        """See `Generator.logits`."""
        result: Tensor = self.head(hidden)
        return result

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Generator.embed`."""
        result: Tensor = self.embedding(tokens)
        return result

    def _memories(self, noise: Noise) -> list[Memory]:
        """Keys and values of the mapped noise for each noise block; computed once a rollout."""
        if noise.latent is None:
            return [None] * len(self.noise_blocks)
        memory = self.noise_mapping(noise.latent)
        return [block.cross.key_value(memory) for block in self.noise_blocks]  # type: ignore[union-attr, operator]

    @property
    def _layers(self) -> int:
        return len(self.noise_blocks) + len(self.output_blocks)

    def _through(
        self,
        x: Tensor,
        where: Sequence[AttentionMask | Step],
        injected: Tensor | None,
        memories: Sequence[Memory],
        asking: slice,
    ) -> Tensor:
        """All blocks over x (N, P, E); of the last one only the rows that ask for a word."""
        B = len(self.noise_blocks)
        rows = [EVERY] * (self._layers - 1) + [asking]
        for layer, block in enumerate(self.noise_blocks):
            assert injected is not None
            x = block.inject(x, where[layer], injected[layer], memories[layer], rows[layer])  # type: ignore[operator]
        for layer, block in enumerate(self.output_blocks, start=B):
            x = block(x, where[layer], rows[layer])
        return x


def _asking(queries: Tensor, last: Tensor | None, t: int) -> Tensor:
    """One stream: what asks for word t (N, E), the last word with the noise that is added to it."""
    if last is None:
        return queries[:, 0]
    return last if queries.shape[1] == 1 else last + queries[:, t]


def _asked(queries: Tensor, words: Tensor) -> Tensor:
    """`_asking` for all steps at once, words (N, S, E): (N, S, E)."""
    if queries.shape[1] == 1:
        return torch.cat([queries, words[:, :-1]], dim=1)
    before = torch.nn.functional.pad(words[:, :-1], (0, 0, 1, 0))
    return before + queries[:, : words.shape[1]]


def _last_word_mask(t: int, device: torch.device) -> Tensor:
    """(2, t + 1): the last word's row sees the words up to itself, the query's row everything."""
    mask = torch.ones(2, t + 1, dtype=torch.bool, device=device)
    mask[0, t] = False
    return mask
