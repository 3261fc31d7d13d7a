"""A maximum-likelihood step of the generator on real text (teacher forcing)."""

from __future__ import annotations

from core.nn.discriminator_input import longest_of
from core.nn.likelihood import negative_log_likelihood
from core.training.optimisation import optimise
from core.training.state import TrainingState
from core.types import PAD


def likelihood_step(state: TrainingState) -> float:
    """Train G once on the next real sentences; the mean negative log-likelihood of a token."""
    tokens = state.next_tokens()
    tokens = tokens[:, : longest_of(tokens)]  # columns that are padding everywhere cost nothing
    generator = state.players.generator
    noise = generator.draw_noise(len(tokens), state.streams["noise"])
    hidden = generator.parallel(tokens, noise)
    token_nll = negative_log_likelihood(hidden, generator.head, tokens)  # (N, S), 0 at padding
    return optimise(state, "generator", [token_nll.sum() / (tokens != PAD).sum()])
