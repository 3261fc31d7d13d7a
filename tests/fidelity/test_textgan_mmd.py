"""TextGAN against dreasysnail/textGAN_public (`theano/model/text_gan.py`, feature_match "mmd")."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from experiments.loading import load
from tests.variants.system.small import made, sentences, stage


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.fidelity
def test_g_matches_features_and_reads_no_score_of_d() -> None:
    """`gan_cost_g = fake_obj`: the discrepancy of features, in which D's last layer has no part."""
    system, real = made("textgan_mmd"), sentences()
    before = system.generator_loss(stage(system, real))
    with torch.no_grad():
        for weight in system.discriminator.cnn.out.parameters():
            weight.add_(1.0)
    after = system.generator_loss(stage(system, real))
    assert torch.equal(before, after)
    assert float(before.detach()) != 0


@pytest.mark.fidelity
def test_d_spreads_features_and_recovers_the_latent_with_small_weights() -> None:
    """`d_cost = gan_cost_d - lambda_fm MMD + lambda_recon r_cost`, both weights .001."""
    config = load("textgan_mmd").system
    assert config.discrepancy == config.reconstruction == 0.001  # type: ignore[union-attr]
    system, real = made("textgan_mmd"), sentences()
    losses = []
    for discrepancy, reconstruction in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        update = {"discrepancy": discrepancy, "reconstruction": reconstruction}
        system.config = system.config.model_copy(update=update)
        losses.append(float(system.discriminator_loss(stage(system, real)).detach()))
    mmd = float(system.generator_loss(stage(system, real)).detach())
    assert losses[1] - losses[0] == pytest.approx(-mmd, abs=1e-9)
    assert losses[2] > losses[0]
