"""log_ratio: as all_words, with a D that is a language model."""

from __future__ import annotations

import pytest
from torch import Tensor

from tests.fidelity.test_all_words import check_losses, check_no_step_is_one_of_likelihood


@pytest.mark.fidelity
def test_no_step_of_the_generator_is_one_of_likelihood() -> None:
    """Ours."""
    check_no_step_is_one_of_likelihood("log_ratio")


@pytest.mark.fidelity
def test_scores_are_log_ratios_to_the_generator() -> None:
    """Finn et al. 2016, section 3: D = f - log p_G, here at each next token, with f = log q + v and
    q normalised; the losses are those of all_words.
    """

    def scores(queries: Tensor, values: Tensor, words: Tensor, log_p: Tensor) -> Tensor:
        return (queries @ words.T).log_softmax(-1) - log_p + values.unsqueeze(-1)

    check_losses("log_ratio", scores)
