"""Every strategy of every slot, from its docstring, its declarations and its settings."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from core import protocols
from core.config import FOLDERS, read_toml
from experiments.loading import systems
from experiments.reference.code import prose
from experiments.reference.settings import table
from variants import registry

INTRODUCTION = """# Strategies

Each part of a text GAN is a slot; each slot is filled by one strategy, chosen by `name` in the
slot's table. What a strategy *needs* of another slot, the strategy there must *offer*. `textgan
variants` prints this list, `textgan variants check SLOT.NAME` holds one against the rules that
all must pass. The last table, `system`, stands instead of all slots: whole text GANs that do not
factor into them.
"""


def page() -> str:
    """The page."""
    users = _users()
    parts = [INTRODUCTION]
    for slot in FOLDERS:
        protocol = getattr(protocols, slot.title().replace("_", ""))
        parts += [f"## {slot}", _first(protocol)]
        for name in registry().names(slot):
            strategy = registry().strategy(slot, name)
            parts += [f"### {slot}.{name}", prose(strategy)]
            parts += [_facts(strategy, users[slot, name]), table_of(strategy, slot)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_of(strategy: Any, slot: str) -> str:
    """The settings of a strategy; its name is the heading already."""
    lines = table(strategy.Config, f"{slot}.").splitlines()
    kept = [line for line in lines if not line.startswith(f"| `{slot}.name` |")]
    return "No settings." if len(kept) <= 2 else "\n".join(kept)


def _facts(strategy: Any, users: list[str]) -> str:
    needs = [f"`{slot}` that offers {_words(what)}" for slot, what in strategy.needs.items()]
    facts = {
        "Source": strategy.paper,
        "Needs": ", ".join(sorted(needs)),
        "Offers": ", ".join(sorted(map(_words, strategy.offers))),
        "Used by": ", ".join(f"[{user}](systems.md#{user})" for user in users),
    }
    return "\n".join(f"- {title}: {text}" for title, text in facts.items() if text)


def _words(capability: str) -> str:
    return capability.replace("_", " ")


def _first(thing: Any) -> str:
    return prose(thing).split("\n\n")[0]


def _users() -> dict[tuple[str, str], list[str]]:
    """(slot, strategy) -> the systems that come with the harness and use it."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for system, file in systems().items():
        tables = read_toml(file)
        for slot in FOLDERS:
            name = tables.get(slot, {}).get("name")
            if name is not None:
                found[slot, name].append(system)
    return found
