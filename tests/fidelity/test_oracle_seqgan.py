"""SeqGAN's synthetic experiment."""

from __future__ import annotations

import pytest

from tests.fidelity.small import CNN, share, small, state


@pytest.mark.fidelity
def test_each_phase_has_its_share() -> None:
    """sequence_gan.py: 120 epochs of 156 batches of likelihood and 200 adversarial steps of G.
    Fewer steps of D are declared.
    """
    config = small("oracle_seqgan", *CNN)
    schedule = state(config).players.schedule
    assert share(schedule, 156, 120 * 156 + 1000) == {
        ("generator", "likelihood"): 120 * 156,
        ("discriminator", "adversarial"): 1000,
    }
    steps = share(schedule, 156, config.train.updates or 0)
    assert steps["generator", "likelihood"] == 120 * 156
    assert steps["generator", "adversarial"] == 200
    assert steps["discriminator", "adversarial"] == 1000 + 200 * 60
    assert (config.corpus.source, config.corpus.sentences) == ("lstm_oracle", 12_500)
