"""The rules that every strategy of a slot must keep, in the tree or from another package.

`textgan variants check` and the test suite call `check`. The methods and attributes of each slot
are those of its protocol in `core/interfaces.py`.
"""

import inspect
from collections.abc import Iterator
from typing import Any, Protocol

from core import interfaces
from core.config import StrategyConfig
from core.config.slots import FOLDERS, SLOTS, slot_name
from core.errors import InputError, nearest
from variants import Registry

CORE_READS = ("memory", "pretraining")  # capabilities that no strategy needs
LIBRARIES = ("builtins", "torch", "typing")


def check(registry: Registry, slot: str, name: str) -> Any:
    """The class of a strategy. InputError names every rule that it breaks."""
    strategy = registry.strategy(slot, name)
    slot = slot_name(slot)
    faults = list(_faults(registry, slot, name, strategy))
    if faults:
        place = f"{inspect.getsourcefile(strategy)}:{inspect.getsourcelines(strategy)[1]}"
        raise InputError("\n".join(f"{place}: {slot}.{name}: {fault}" for fault in faults))
    return strategy


def _faults(registry: Registry, slot: str, name: str, strategy: Any) -> Iterator[str]:
    if not strategy.__doc__:
        yield "the class has no docstring"
    if not isinstance(getattr(strategy, "offers", None), frozenset):
        yield "offers must be a frozenset of capabilities"
    else:
        known = _capabilities(registry, slot, name)
        for capability in sorted(strategy.offers - known):
            meant = nearest(capability, known)
            yield f"offers {capability!r}, which nothing needs of a {slot}{meant}"
    if not isinstance(getattr(strategy, "paper", None), str):
        yield "paper must be a string (empty if there is none)"
    config = getattr(strategy, "Config", None)
    if not (isinstance(config, type) and issubclass(config, StrategyConfig)):
        yield "Config must be a StrategyConfig"
        return
    if config.model_fields["name"].default not in ("", name):
        yield f"Config.name must be left out, or default to {name!r}"
    for other, capability in strategy.needs.items():
        if other not in SLOTS or not any(
            capability in registry.strategy(other, n).offers for n in registry.names(other)
        ):
            yield f"needs {capability!r} of {other}, which nothing offers"
    protocol = getattr(interfaces, slot.title().replace("_", ""))  # NoiseMapping of noise_mapping
    for member, is_method in _members(protocol):
        if is_method and not callable(getattr(strategy, member, None)):
            yield f"no method {member}"
        elif not is_method and not hasattr(strategy, member) and member not in _source(strategy):
            yield f"no attribute {member}"


def _capabilities(registry: Registry, slot: str, name: str) -> set[str]:
    """What other strategies of a slot offer, and what strategies and the core need of it."""
    offered = (registry.strategy(slot, n).offers for n in registry.names(slot) if n != name)
    all_ = (registry.strategy(each, n) for each in FOLDERS for n in registry.names(each))
    needed = {strategy.needs[slot] for strategy in all_ if slot in strategy.needs}
    return needed.union(CORE_READS, *offered)


def _members(protocol: Any) -> Iterator[tuple[str, bool]]:
    """Name of each member of a protocol, and whether it is a method."""
    for klass in protocol.__mro__[: protocol.__mro__.index(Protocol)]:
        yield from ((name, False) for name in inspect.get_annotations(klass))
        for name, value in vars(klass).items():
            if not name.startswith("_") or name == "__call__":
                if isinstance(value, property):
                    yield name, False
                elif inspect.isfunction(value):
                    yield name, True


def _source(strategy: type) -> str:
    """The source of a class and of its base classes outside the libraries."""
    ours = [c for c in strategy.__mro__ if c.__module__.split(".")[0] not in LIBRARIES]
    return "\n".join(inspect.getsource(c) for c in ours)
