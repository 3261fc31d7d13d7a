"""The strategies: one folder per slot, one file per strategy, the file name is its name.

A strategy's module defines one class with a `Config` inside. `registry()` finds them by their
files, and imports one only when it is asked for; strategies of other packages come through the
entry-point group `textgan.variants` as `slot.name = "package.module:Class"`.
"""

from __future__ import annotations

from variants.registry import Registry, registry

__all__ = ["Registry", "registry"]
