"""log_ratio_transformer: the losses of log_ratio with other players."""

from __future__ import annotations

import pytest

from tests.fidelity.test_all_words import check_losses, check_no_step_is_one_of_likelihood
from tests.fidelity.test_log_ratio import log_ratios


@pytest.mark.fidelity
def test_no_step_of_the_generator_is_one_of_likelihood() -> None:
    """Ours."""
    check_no_step_is_one_of_likelihood("log_ratio_transformer")


@pytest.mark.fidelity
def test_scores_are_log_ratios_to_the_generator() -> None:
    """As those of log_ratio."""
    check_losses("log_ratio_transformer", log_ratios)
