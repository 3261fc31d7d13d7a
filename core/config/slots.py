"""The slots of a text GAN, and whether strategies fit together.

A slot's strategies live in `variants/<slot>/`. Whether they fit follows from what each declares:
`needs` (slot -> capability) against the `offers` of the strategy there. Nothing else is looked at,
so a strategy from another package takes part like any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SLOTS = (
    "generator", "next_input", "noise_mapping", "sampling", "temperature", "estimator",
    "discriminator", "objective", "penalty", "schedule",
)  # fmt: skip
SYSTEM = "system"  # the table of a whole system, which replaces all slots
FOLDERS = (*SLOTS, SYSTEM)  # under variants/, and tables of the configuration
NEEDED = ("generator", "next_input", "noise_mapping", "sampling", "temperature", "schedule")
GAME = ("estimator", "discriminator", "objective", "penalty")  # only with a discriminator
# Settings of [train] that change the adversarial training of the slots.
GAME_SETTINGS = ("micro_batch", "entropy", "instance_noise", "curriculum_start", "replay",
                 "discriminator_from_generator")  # fmt: skip
# The folders had plural names once, and people type them.
PLURALS = {"penalties": "penalty"} | {
    f"{slot}s": slot
    for slot in ("generator", "estimator", "discriminator", "objective", "schedule", "system")
}
PLUGINS = "textgan.variants"  # entry-point group of strategies in other packages
MOST_CHANGES = 3
Chosen = Mapping[str, Any]  # slot -> strategy class; slots that the schedule has no use for absent
Way = dict[str, str]  # slot -> name of another strategy: changes that repair a combination


def slot_name(key: str) -> str:
    """The slot of a table's name; its plural (`objectives`) is understood too."""
    return PLURALS.get(key, key)


class Resolver(Protocol):
    """Finds strategies; `variants.Registry` is the one there is."""

    def names(self, slot: str) -> list[str]:
        """Names of the strategies of a slot, sorted."""

    def strategy(self, slot: str, name: str) -> Any:
        """The strategy class; InputError with the nearest name when there is none."""


@dataclass(frozen=True)
class Conflict:
    """The strategy of `slot` needs a capability that the one of `other` does not offer."""

    slot: str
    other: str
    capability: str


def conflict(chosen: Chosen) -> Conflict | None:
    """The first need that is not met; a need of a slot that is absent has no object."""
    for slot, strategy in chosen.items():
        for other, capability in strategy.needs.items():
            if other not in chosen and other in GAME and not chosen["schedule"].adversarial:
                continue
            if other not in chosen or capability not in chosen[other].offers:
                return Conflict(slot, other, capability)
    return None


def repairs(
    chosen: Chosen, found: Conflict, resolver: Resolver, fixed: Sequence[str] = ()
) -> list[Way]:
    """The ways out with the fewest changes, as slot -> name; those of the two slots at odds first,
    the side that lacks the capability before the side that needs it. The slots `fixed` are kept.
    """
    slots = sorted(
        chosen.keys() - set(fixed), key=lambda slot: (slot != found.other, slot != found.slot, slot)
    )
    for count in range(1, MOST_CHANGES + 1):
        ways = list(_ways(chosen, slots, count, resolver))
        if ways:
            return ways
    return []


def _ways(chosen: Chosen, slots: Sequence[str], count: int, resolver: Resolver) -> Iterator[Way]:
    for changed in itertools.combinations(slots, count):
        for names in itertools.product(*(resolver.names(slot) for slot in changed)):
            way = dict(zip(changed, names, strict=True))
            other = {slot: resolver.strategy(slot, name) for slot, name in way.items()}
            changed_to = {**chosen, **other}
            if changed_to["schedule"].adversarial != (GAME[0] in chosen):
                continue
            if conflict(changed_to) is None:
                yield way


def in_words(ways: Sequence[Mapping[str, str]]) -> str:
    """`a.name = 'x' or 'y', or b.name = 'z'`; of ways with several changes the first alone."""
    if not ways:
        return "no change of up to three slots mends it"
    if len(ways[0]) > 1:
        return " with ".join(f"{slot}.name = {name!r}" for slot, name in ways[0].items())
    by_slot: dict[str, list[str]] = {}
    for way in ways:
        for slot, name in way.items():
            by_slot.setdefault(slot, []).append(repr(name))
    return ", or ".join(f"{slot}.name = {' or '.join(names)}" for slot, names in by_slot.items())
