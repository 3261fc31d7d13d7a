"""A recurrent generator with relational memory: slots that attend to each other and to the input.

With memory M (slots, heads x head_size) and the input's projection u = W x, in the notation of
Santoro et al. 2018:

    A = attention([M; u]),  M~ = norm(M + A),  M^ = norm(M~ + mlp(M~))    rows of the slots only
    i, f = sigmoid(W_u u + W_m tanh(M) + [0; 1])
    M' = i * tanh(M^) + f * M,   h = M' as one vector

The concatenated queries, keys and values of a row share one layer norm, as in the papers' code.
RelGAN (Nie et al. 2019) uses one slot and two heads of 256. The memory starts as the first rows of
the identity; a mapped latent is added to it.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

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

    paper = "Santoro et al. 2018; Nie et al. 2019"

    def new_body(self, config: Config, inputs: int) -> RelationalMemory:
        """The memory."""
        return RelationalMemory(inputs, config.slots, config.heads, config.head_size)


class RelationalMemory(nn.Module):
    """The body; its state is the memory (N, slots, D) with D = heads x head_size."""

    depth = 1
    eye: Tensor

    def __init__(self, inputs: int, slots: int, heads: int, head_size: int) -> None:
        super().__init__()
        D = heads * head_size
        self.slots, self.heads, self.width = slots, heads, D
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
        keys, values = (
            self.qkv_norm(self.qkv(u)).split((self.width, 2 * self.width), -1)[1].chunk(2, dim=-1)
        )
        gates = self.gate_input(u)  # (N, P, 2 D)
        outputs = []
        for t in range(x.shape[1]):
            now = slice(t, t + 1)
            state = self._step(state, keys[:, now], values[:, now], gates[:, now])
            outputs.append(state.flatten(1))
        hidden = torch.stack(outputs, dim=1)
        return (hidden if masks is None else hidden * masks[1]), state

    def _step(self, memory: Tensor, key: Tensor, value: Tensor, gate: Tensor) -> Tensor:
        """One step: memory (N, slots, D), the input's key and value (N, 1, D), gate (N, 1, 2 D)."""
        q, k, v = self.qkv_norm(self.qkv(memory)).chunk(3, dim=-1)
        k, v = torch.cat([k, key], dim=1), torch.cat([v, value], dim=1)
        q, k, v = self._split(q), self._split(k), self._split(v)
        attended = scaled_dot_product_attention(q, k, v)
        new = self.norm(memory + attended.transpose(1, 2).flatten(2))
        new = self.mlp_norm(new + self.mlp(new))
        i, f = (gate + self.gate_memory(memory.tanh())).chunk(2, dim=-1)
        return i.sigmoid() * new.tanh() + (f + FORGET).sigmoid() * memory

    def _split(self, x: Tensor) -> Tensor:
        N, P, _ = x.shape
        return x.view(N, P, self.heads, -1).transpose(1, 2)
