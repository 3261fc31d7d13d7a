"""Constraints with hashes, and an audit that says what it could not see; no network here."""

from __future__ import annotations

import importlib.util
import json
import subprocess

import pytest

from tests.conftest import ROOT

specification = importlib.util.spec_from_file_location("lock", ROOT / "docs" / "lock.py")
assert specification is not None
assert specification.loader is not None
lock = importlib.util.module_from_spec(specification)
specification.loader.exec_module(lock)
ONE, TWO = "a" * 64, "b" * 64


def test_every_pin_is_locked_with_its_hashes() -> None:
    pins, locked = lock.pins(lock.PINS.read_text()), lock.locked(lock.LOCK.read_text())
    assert lock.disagreements(pins, locked) == [], "run: make lock"
    assert len(pins) > 150
    assert len(locked["torch"][1]) > 3, "a file for each platform"


def test_what_does_not_agree_is_named() -> None:
    text = f"A_b==1.0 \\\n    --hash=sha256:{ONE} \\\n    --hash=sha256:{TWO}\nc==2\n"
    locked = lock.locked(text + f"d==3 --hash=sha256:{ONE[:-1]}\n")
    assert locked["a-b"] == ("1.0", {ONE, TWO})
    assert lock.disagreements({"a-b": "1.0", "c": "2", "e": "1"}, locked) == [
        "c: locked without a hash",
        "d: locked, but not pinned",
        "e: pinned at 1, locked at nothing",
    ]
    assert lock.disagreements({"a-b": "1.1"}, {"a-b": locked["a-b"]}) == [
        "a-b: pinned at 1.1, locked at 1.0"
    ]


def _answer(**packages: object) -> str:
    found = [{"name": name, "version": "1", **about} for name, about in packages.items()]  # type: ignore[dict-item]
    return json.dumps({"dependencies": found, "fixes": []})


def test_advisories_are_read_and_silence_is_not_taken_for_safety() -> None:
    bad = {"vulns": [{"id": "PYSEC-1", "fix_versions": ["2", "3"]}]}
    assert list(lock.advisories(_answer(a=bad, b={"vulns": []}))) == [
        "a 1: PYSEC-1, mended in 2, 3"
    ]
    partly = list(lock.advisories(_answer(a={"skip_reason": "x"}, b={"vulns": []})))
    assert partly == ["not audited, the registry has no advisories for them: a"]
    with pytest.raises(ValueError, match="no advisories for any package"):
        list(lock.advisories(_answer(a={"skip_reason": "not found"})))


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [("", "a\nConnectionError: refused", "refused"), (_answer(a={"skip_reason": "x"}), "", "any")],
)
def test_an_audit_without_a_network_says_so(
    answer: str, error: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 1, answer, error)
    monkeypatch.setattr(lock.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(lock.importlib.util, "find_spec", lambda _: True)
    (line,) = lock.ask()
    assert line.startswith("advisories not read, so nothing is known")
    assert said in line
