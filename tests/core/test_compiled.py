"""Of processes that need a compiled function at the same time, one compiles it."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

import pytest

SOURCE = """
from core.compiled import compiled

@compiled
def add(a, b):
    return a + b
"""


def test_one_process_compiles_and_the_other_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "added.py"
    file.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("added", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "added", module)
    spec.loader.exec_module(module)
    add, compilation = module.add, module.add._compiler.compile

    def slow(*given: object) -> object:
        time.sleep(0.5)  # the other looks for the file meanwhile
        return compilation(*given)

    monkeypatch.setattr(add._compiler, "compile", slow)
    children = []
    for name in ("one", "two"):
        child = os.fork()
        if child == 0:
            if add(1, 2) == 3:
                (tmp_path / name).write_text(str(sum(add.stats.cache_misses.values())))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert sorted((tmp_path / name).read_text() for name in ("one", "two")) == ["0", "1"]
