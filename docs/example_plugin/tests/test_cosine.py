"""What only this strategy promises. The conformance rules check the rest."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from textgan_cosine import Cosine

from variants import registry
from variants.conformance import check


def test_it_keeps_the_rules_and_is_found_by_its_name() -> None:
    assert check(registry(), "temperature", "cosine") is Cosine


def test_it_falls_from_high_to_low_by_way_of_the_middle() -> None:
    temperature = Cosine(Cosine.Config(high=2.0, low=1.0))
    assert [temperature(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([2.0, 1.5, 1.0])


def test_it_does_not_rise() -> None:
    with pytest.raises(ValidationError, match="low 2.0 is above high 1.0"):
        Cosine.Config(high=1.0, low=2.0)
