"""Accepted means that it trains, refused means words, over the product of all slots."""

from __future__ import annotations

import random

import pytest

from core.config import parse
from core.config.slots import GAME, SLOTS
from core.errors import InputError
from tests.product import Names, _frames, accepted, alike, covering_array, tables, trains
from variants import registry

ARRAY = covering_array()
KINDS = {slot: alike(slot) for slot in SLOTS}
FRAMES = list(
    _frames(KINDS)
)  # the full product, strategies that the check cannot tell apart as one


def some(frame: dict[str, list[str]], rng: random.Random) -> Names:
    return {slot: rng.choice(kind) for slot, kind in frame.items()}


def test_members_of_a_kind_share_the_verdict() -> None:
    """So the verdicts over FRAMES are those over the full product."""
    rng = random.Random(0)
    for frame in FRAMES:
        assert len({accepted(some(frame, rng)) for _ in range(5)}) == 1


def test_what_is_accepted_parses_and_what_is_refused_says_a_way_out() -> None:
    rng, refused = random.Random(1), []
    for frame in FRAMES:
        names = some(frame, rng)
        if accepted(names):
            parse(tables(names), registry())
        else:
            refused.append(names)
    for names in rng.sample(refused, 60):
        with pytest.raises(InputError) as error:
            parse(tables(names), registry())
        (line,) = str(error.value).splitlines()
        need, _, valid = line.partition("; valid: ")
        assert "needs" in need
        assert "does not offer" in need
        # The first way out that it offers is one.
        way = valid.partition(", or ")[0].split(" with ")
        changes = {slot: value for slot, _, value in (w.partition(".name = ") for w in way)}
        changed = {**names, **{s: v.split(" or ")[0].strip("'") for s, v in changes.items()}}
        assert accepted(changed), line


def test_tables_without_use_are_refused() -> None:
    names = next(row for row in ARRAY if row["schedule"] == "mle")
    for slot in GAME:
        extra = {**tables(names), slot: {"name": registry().names(slot)[0]}}
        with pytest.raises(InputError, match=rf"\[{slot}\] has no meaning"):
            parse(extra, registry())


def test_the_array_covers_every_strategy() -> None:
    used = {(slot, name) for row in ARRAY for slot, name in row.items()}
    assert used == {(slot, name) for slot in SLOTS for name in registry().names(slot)}


@pytest.mark.parametrize("names", ARRAY, ids=["-".join(row.values()) for row in ARRAY])
def test_every_accepted_pair_trains(names: Names) -> None:
    trains(names)
