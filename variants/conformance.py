"""What every strategy of a slot must satisfy, in the tree or from another package.

`check` raises AssertionError-like InputErrors in words; the test suite calls it for every
strategy that the registry finds, and `textgan variants check` for one.
"""

from __future__ import annotations

import inspect
from typing import Any

from core.config import SLOTS, StrategyConfig, slot_name
from core.errors import InputError
from core.types import Shape
from variants import Registry

METHODS = {
    "generator": ("draw_noise", "begin", "step", "fork", "parallel", "logits", "embed"),
    "next_input": ("draw", "queries"),
    "noise_mapping": ("draw", "__call__"),
    "sampling": ("randomness", "select", "feedback", "discriminator_input"),
    "temperature": ("__call__",),
    "estimator": ("prepare", "loss"),
    "discriminator": ("score", "__call__"),
    "objective": ("discriminator", "generator", "reward"),
    "penalty": ("draw", "__call__"),
    "schedule": ("phases",),
    "system": ("temperature", "phases"),
}
ATTRIBUTES = {
    "generator": ("length", "embedding", "head"),
    "next_input": ("streams",),
    "sampling": ("soft_feedback",),
    "estimator": ("target",),
    "objective": ("relativistic", "uses_features"),
    "schedule": ("adversarial",),
    "system": ("generator", "sampling", "others", "adversarial"),
}
SHAPE = Shape(length=6, vocabulary=9)
LIBRARIES = ("builtins", "torch", "typing")


def check(registry: Registry, slot: str, name: str) -> Any:
    """Hold a strategy against the rules; the class. InputError says which one it breaks."""
    strategy = registry.strategy(slot, name)
    slot = slot_name(slot)
    faults = list(_faults(registry, slot, name, strategy))
    if faults:
        raise InputError("\n".join(f"{slot}.{name}: {fault}" for fault in faults))
    return strategy


def _faults(registry: Registry, slot: str, name: str, strategy: Any) -> list[str]:
    faults = []
    if not inspect.getdoc(strategy):
        faults.append("the class has no docstring")
    if not isinstance(getattr(strategy, "offers", None), frozenset):
        faults.append("offers must be a frozenset of capabilities")
    if not isinstance(getattr(strategy, "paper", None), str):
        faults.append("paper must be a string (empty when there is none)")
    config = getattr(strategy, "Config", None)
    if not (isinstance(config, type) and issubclass(config, StrategyConfig)):
        return [*faults, "Config must be a StrategyConfig"]
    if config.model_fields["name"].default != name:
        faults.append(f"Config.name must default to {name!r}")
    for other, capability in strategy.needs.items():
        offered = any(
            capability in registry.strategy(other, n).offers for n in registry.names(other)
        )
        if other not in SLOTS or not offered:
            faults.append(f"needs {capability!r} of {other}, which nothing offers")
    missing = [m for m in METHODS[slot] if not callable(getattr(strategy, m, None))]
    faults += [f"no method {method}" for method in missing]
    faults += [
        f"no attribute {a}"
        for a in ATTRIBUTES.get(slot, ())
        if not hasattr(strategy, a) and a not in _source(strategy)
    ]
    return faults


def _source(strategy: type) -> str:
    """The text of a class and of those it builds on, up to the libraries'."""
    ours = [c for c in strategy.__mro__ if c.__module__.split(".")[0] not in LIBRARIES]
    return "\n".join(inspect.getsource(c) for c in ours)
