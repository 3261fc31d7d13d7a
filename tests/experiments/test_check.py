"""`textgan variants check`: every strategy finds company that it fits; a broken one hears of it."""

from __future__ import annotations

import pytest

from core.config.slots import FOLDERS, SLOTS, conflict
from core.errors import InputError
from experiments.check import trial, try_strategy
from variants import registry
from variants.discriminator.lstm_last import LSTMLastDiscriminator
from variants.penalty.none import NoPenalty
from variants.sampling.categorical import Categorical

EVERY = [(slot, name) for slot in FOLDERS for name in registry().names(slot)]


@pytest.mark.parametrize(("slot", "name"), EVERY, ids=[f"{s}.{n}" for s, n in EVERY])
def test_every_strategy_has_a_trial(slot: str, name: str) -> None:
    config = trial(slot, name)
    assert getattr(config, slot).name == name
    if slot in SLOTS:
        chosen = {
            key: registry().strategy(key, table.name)
            for key in SLOTS
            if (table := getattr(config, key)) is not None
        }
        assert conflict(chosen) is None


@pytest.mark.parametrize("name", ["estimator.dense_reinforce", "schedule.mle", "system.cot"])
def test_a_strategy_is_tried(name: str) -> None:
    assert try_strategy(*name.split(".")).updates == 3


def test_one_that_breaks_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of its own making")

    monkeypatch.setattr(NoPenalty, "__call__", broken)
    place = r"variants/penalty/none\.py:\d+: penalty\.none: three updates end in ZeroDivisionError"
    with pytest.raises(InputError, match=place):
        try_strategy("penalty", "none")


def test_offers_that_are_unknown_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Categorical, "offers", Categorical.offers | {"hard_token"})
    said = "offers 'hard_token', which nothing needs of a sampling; did you mean 'hard_tokens'"
    with pytest.raises(InputError, match=rf"sampling/categorical\.py:\d+: .*{said}"):
        try_strategy("sampling", "categorical")


@pytest.mark.parametrize(
    ("claim", "partner", "missing"),
    [
        ("features", "objective.rank", "features"),
        ("next_token_scores", "estimator.all_words", "queries"),
    ],
)
def test_capabilities_that_a_strategy_claims_are_used(
    claim: str, partner: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LSTMLastDiscriminator, "offers", frozenset({claim}))
    said = rf"lstm_last: three updates with {partner} end in AttributeError.*{missing}"
    with pytest.raises(InputError, match=said):
        try_strategy("discriminator", "lstm_last")
