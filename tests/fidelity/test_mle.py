"""Maximum likelihood: the baseline is nothing else."""

from __future__ import annotations

import pytest
import torch

from core.training.loop import train_phase
from core.types import PAD, Phase
from tests.fidelity.small import share, small, state


@pytest.mark.fidelity
def test_the_loss_is_the_mean_negative_log_likelihood_of_real_tokens() -> None:
    """Ours; the definition."""
    run = state(small("mle"))
    G, tokens = run.players.generator, run.next_tokens()
    logits = G.head(G.parallel(tokens, G.draw_noise(len(tokens), run.streams["noise"])))
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD
    )
    run.counters.batches = 0  # the same sentences
    train_phase(run, Phase("generator", "likelihood"))
    assert run.metrics["train/generator_loss"] == pytest.approx(nats.item(), rel=1e-5)


@pytest.mark.fidelity
def test_no_discriminator_takes_part() -> None:
    """Ours."""
    run = state(small("mle"))
    assert share(run.players.schedule, 10, 5) == {("generator", "likelihood"): 5}
    assert run.players.adversary is None
