"""The likelihood baseline of SeqGAN's synthetic experiment."""

from __future__ import annotations

import pytest

from core.types import Phase
from tests.fidelity.small import norms, share, small, state


@pytest.mark.fidelity
def test_120_epochs_of_clipped_likelihood_and_nothing_else() -> None:
    """LantaoYu/SeqGAN, sequence_gan.py: 120 epochs of 156 batches; generator.py: grad_clip 5.0."""
    config = small("oracle_mle")
    run = state(config)
    steps = share(run.players.schedule, 156, config.train.updates or 0)
    assert steps == {("generator", "likelihood"): 120 * 156}
    assert run.players.adversary is None
    before, after = norms(run, Phase("generator", "likelihood"))
    assert before > 5
    assert after == pytest.approx(5.0, rel=1e-4)
