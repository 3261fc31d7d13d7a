"""Train the generator by maximum likelihood on real sentences (teacher forcing)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from core.nn.likelihood import negative_log_likelihood
from core.nn.noise import rows_of
from core.training.optimisation import optimise
from core.training.state import TrainingState
from core.types import PAD


def likelihood_step(state: TrainingState) -> float:
    """Train G once on the next real sentences; the mean negative log-likelihood of a token."""
    tokens, generator = state.next_tokens(), state.players.generator
    lengths = (tokens != PAD).sum(1)
    tokens, count = tokens[:, : int(lengths.max())], lengths.sum()  # without columns of padding
    noise = generator.draw_noise(len(tokens), state.streams["noise"])

    def losses() -> Iterator[Tensor]:
        for rows in state.micro_batches.pieces(None):
            part = tokens[rows]
            hidden = generator.parallel(part, rows_of(noise, rows))
            token_nll = negative_log_likelihood(hidden, generator.head, part)  # 0 at padding
            yield token_nll.sum() / count

    return optimise(state, "generator", losses())
