"""Docstrings and signatures as Markdown."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from core import checkpoint, protocols, rollout, statistics
from core.config import schema
from core.text import corpus, grammar, pcfg
from core.tracking import protocol as tracking
from experiments import loading, runner, wanted

MODULES = (protocols, schema, loading, runner, wanted, rollout, statistics, corpus, grammar, pcfg,
           checkpoint, tracking)  # fmt: skip
INTRODUCTION = """# Python

`from experiments import load, run` is enough for a notebook:

```python
from experiments import load, run

result = run(load("mle", ["corpus.source='my.txt'", "train.minutes=5"]))
print(result.metrics["eval/bleu_4"])
```

What follows is what the parts promise each other. The letters: N batch, S sequence length, E
embedding width, V vocabulary size, H heads.
"""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for module in MODULES:
        parts += [f"## {module.__name__}", definitions(module, level=3)]
    return "\n\n".join(parts) + "\n"


def definitions(module: ModuleType, level: int) -> str:
    """The docstrings of a module and of its public classes, methods and functions."""
    parts = [prose(module)]
    for name, thing in _public(vars(module)):
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        parts += [f"{'#' * level} {name}", *_described(name, thing)]
        if isinstance(thing, type):
            for inner, method in _public(vars(thing)):
                parts += _described(inner, method)
    return "\n\n".join(part for part in parts if part)


def prose(thing: Any) -> str:
    """A docstring as Markdown: what looks like a tag in it is text."""
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "").replace("<", "&lt;")


def _public(members: Any) -> Iterator[tuple[str, Any]]:
    for name, thing in members.items():
        plain = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
        if not name.startswith("_") and isinstance(plain, type | FunctionType | property):
            yield name, plain


def _described(name: str, thing: Any) -> list[str]:
    text = prose(thing)
    if isinstance(thing, type):
        return [text]
    if isinstance(thing, property):
        return [f"**`{name}`** {text}"]
    return [f"```python\n{name}{inspect.signature(thing)}\n```", text]
