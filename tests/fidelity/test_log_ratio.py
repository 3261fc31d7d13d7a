"""log_ratio: as all_words, with a D that is a language model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.training.diagnostics import diagnose
from core.types import END
from tests.fidelity.small import small, state
from tests.fidelity.test_all_words import check_losses, check_no_step_is_one_of_likelihood


def log_ratios(queries: Tensor, values: Tensor, words: Tensor, log_p: Tensor) -> Tensor:
    """Scores (N, S, V): log q - log p + v."""
    return (queries @ words.T).log_softmax(-1) - log_p + values.unsqueeze(-1)


@pytest.mark.fidelity
def test_no_step_of_the_generator_is_one_of_likelihood() -> None:
    """Ours."""
    check_no_step_is_one_of_likelihood("log_ratio")


@pytest.mark.fidelity
def test_scores_are_log_ratios_to_the_generator() -> None:
    """Finn et al. 2016, section 3: D = f - log p_G, here at each next token, with f = log q + v and
    q normalised; the losses are those of all_words.
    """
    check_losses("log_ratio", log_ratios)


def test_diagnoses_of_the_discriminator_compare_it_with_the_generator() -> None:
    run = state(small("log_ratio", "discriminator.dropout=0.0"))
    G, D = run.players.generator, run.adversary.discriminator
    with torch.no_grad():  # q is uniform, p prefers one token, v is 0
        for weight in (D.query.weight, D.query.bias, D.value.weight, D.value.bias, G.head.weight):  # type: ignore[attr-defined]
            weight.zero_()
        G.head.bias[END] = 2.0
    real = torch.full((8, G.length), END + 1)  # never that token: D finds each real token real
    found = diagnose(run.config, run.players, real, run.sampling_spec(), "test", 0)
    # Without G's part all scores are 0, and both are .5.
    for name in ("diagnosis/d_auc", "diagnosis/d_accuracy"):
        value = found[name]
        assert value is not None
        assert value > 0.5
