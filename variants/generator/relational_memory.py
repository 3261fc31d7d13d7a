"""A recurrent generator with relational memory: slots that attend to each other and to the input.

With memory M (slots, heads x head_size) and the input's projection u = W x, in the notation of
Santoro et al. 2018:

    A = attention([M; u]),  M~ = norm(M + A),  M^ = norm(M~ + mlp(M~))    rows of the slots only
    i, f = sigmoid(W_u u + W_m tanh(M) + [0; 1])
    M' = i * tanh(M^) + f * M,   h = M' as one vector

The concatenated queries, keys and values of a row share one layer norm, as in the papers' code.
Scores of attention are scaled by head_size^(-1/2), and each row is normalised by itself, as in
Santoro et al.'s code; in RelGAN's (Nie et al. 2019) the scale is that of queries, keys and values
together, (3 head_size)^(-1/2), and the rows [M; u] of a step share their mean and variance. RelGAN
uses one slot and two heads of 256. The memory starts as the first rows of the identity; a mapped
latent is added to it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.nn.recurrent import RecurrentGenerator

FORGET = 1.0  # bias of the forget gate


class RelationalMemoryGenerator(RecurrentGenerator, Strategy):
    """RelGAN's relational memory: slots that attend to each other and to the last token."""

    class Config(StrategyConfig):
        """Sizes (RelGAN's); `dropout` of the inputs and of the outputs."""

        width: Annotated[int, Field(ge=1, le=8192), Search(16, 256, log=True)] = 32  # E
        slots: Annotated[int, Field(ge=1, le=64), Search(1, 4)] = 1
        heads: Annotated[int, Field(ge=1, le=64), Search(1, 8)] = 2
        head_size: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 256
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0
        scale: Literal["head", "qkv"] = "head"  # the size that attention is scaled by
        norm: Literal["row", "step"] = "row"  # what a layer norm takes mean and variance of

    paper = "Santoro et al. 2018; Nie et al. 2019"

    def new_body(self, config: Config, inputs: int) -> RelationalMemory:
        """The memory."""
        return RelationalMemory(inputs, config)


class RelationalMemory(nn.Module):
    """The body; its state is the memory (N, slots, D) with D = heads x head_size."""

    depth = 1
    eye: Tensor

    def __init__(self, inputs: int, config: RelationalMemoryGenerator.Config) -> None:
        super().__init__()
        slots, D = config.slots, config.heads * config.head_size
        self.slots, self.heads, self.width = slots, config.heads, D
        self.scale = (3 * config.head_size) ** -0.5 if config.scale == "qkv" else None
        self.by_step = config.norm == "step"
        self.hidden = self.starts = slots * D
        self.enter = nn.Linear(inputs, D)
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.qkv_norm, self.norm, self.mlp_norm = (nn.LayerNorm(n) for n in (3 * D, D, D))
        self.mlp = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D))
        self.gate_input = nn.Linear(D, 2 * D, bias=False)
        self.gate_memory = nn.Linear(D, 2 * D, bias=False)
        self.register_buffer("eye", torch.eye(slots, D), persistent=False)

    def begin(self, first: Tensor | None, count: int) -> Tensor:
        """The identity's first rows, and what a latent adds to them."""
        memory = self.eye.expand(count, -1, -1)
        return memory if first is None else memory + first.view(count, self.slots, self.width)

    def fork(self, state: Tensor, rows: Tensor) -> Tensor:
        """See `Body.fork`."""
        return state[rows]

    def forward(
        self, x: Tensor, state: Tensor, masks: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """See `Body.__call__`; all that depends on the inputs alone is computed once for all."""
        if masks is not None:
            x = x * masks[0]
        u = self.enter(x)  # (N, P, D)
        read = u if self.by_step else self.qkv_norm(self.qkv(u))[..., self.width :]
        gates = self.gate_input(u)  # (N, P, 2 D)
        outputs = []
        for t in range(x.shape[1]):
            now = slice(t, t + 1)
            state = self._step(state, read[:, now], gates[:, now])
            outputs.append(state.flatten(1))
        hidden = torch.stack(outputs, dim=1)
        return (hidden if masks is None else hidden * masks[1]), state

    def _step(self, memory: Tensor, read: Tensor, gate: Tensor) -> Tensor:
        """One step: memory (N, slots, D), gate (N, 1, 2 D) and, of the input, its row (N, 1, D) if
        rows share a layer norm, else its key and value (N, 1, 2 D).
        """
        rows = torch.cat([memory, read], dim=1) if self.by_step else memory
        q, k, v = self._normalised(self.qkv_norm, self.qkv(rows)).chunk(3, dim=-1)
        if not self.by_step:
            key, value = read.chunk(2, dim=-1)
            k, v = torch.cat([k, key], dim=1), torch.cat([v, value], dim=1)
        q, k, v = self._split(q), self._split(k), self._split(v)
        attended = scaled_dot_product_attention(q, k, v, scale=self.scale)
        new = self._normalised(self.norm, rows + attended.transpose(1, 2).flatten(2))
        new = self._normalised(self.mlp_norm, new + self.mlp(new))[:, : self.slots]
        i, f = (gate + self.gate_memory(memory.tanh())).chunk(2, dim=-1)
        return i.sigmoid() * new.tanh() + (f + FORGET).sigmoid() * memory

    def _normalised(self, norm: nn.LayerNorm, rows: Tensor) -> Tensor:
        """Rows (N, P, F) under a layer norm with weights (F,), by row or together."""
        if not self.by_step:
            return norm(rows)
        return layer_norm(rows, rows.shape[1:]) * norm.weight + norm.bias

    def _split(self, x: Tensor) -> Tensor:
        N, P, _ = x.shape
        return x.view(N, P, self.heads, -1).transpose(1, 2)
