"""The built-in corpus: short, fortune-like English out of a probabilistic grammar.

    every patient teacher who keeps old promises never fears the quiet road

Number agreement is the hard part: the verb of the main clause agrees with a subject that a whole
relative clause may stand before, and both may hold other nouns of either number. The grammar is
unambiguous (a test counts its derivations), so `entropy` is the exact entropy of a sentence.

`grammar.toml` has the rules and the words. Word weights fall as 1 / (rank + 3), as in natural text
a few words do most of the work.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from core.text.pcfg import Grammar, Rule

Difficulty = Literal["easy", "default", "hard"]
Size = Mapping[str, Any]  # numbers of words by kind, and the names of constructions

NUMBERS = ("sg", "pl")
TABLES = tomllib.loads(Path(__file__).with_name("grammar.toml").read_text(encoding="utf-8"))
SIZES: Mapping[str, Size] = TABLES["sizes"]


@cache
def grammar(difficulty: Difficulty = "default") -> Grammar:
    """The grammar at one of its difficulties."""
    size, rules = SIZES[difficulty], dict[str, list[Rule]]()
    for construction in ("always", *size["constructions"]):
        for symbol, alternatives in TABLES["rules"][construction].items():
            for n in NUMBERS if "{n}" in symbol else ("",):
                found = rules.setdefault(symbol.format(n=n), [])
                found += [rule for text in alternatives for rule in _expanded(text, n)]
    reached = {s for alternatives in rules.values() for _, right in alternatives for s in right}
    words = {tag: words for tag, words in _words(size).items() if tag in reached}
    return Grammar("S", rules, words, f"grammar:{difficulty}")


def _expanded(alternative: str, n: str) -> Iterator[Rule]:
    """The rules that an alternative stands for, in the number n."""
    for m in NUMBERS if "{m}" in alternative else ("",):
        weight, *right = alternative.format(n=n, m=m).split()
        yield float(weight), tuple(right)


def _words(size: Size) -> dict[str, dict[str, float]]:
    """Weighted words by tag."""
    found = {}
    for tag, kind in TABLES["words"].items():
        listed = kind["words"].split()[: size[kind["limit"]] if "limit" in kind else None]
        if "inflected" not in kind:
            found[tag] = listed
            continue
        for n in NUMBERS:
            is_inflected = n == kind["inflected"]
            found[f"{tag}_{n}"] = [_s(word) for word in listed] if is_inflected else listed
    return {
        tag: {word: 1.0 / (rank + 3) for rank, word in enumerate(listed)}
        for tag, listed in found.items()
    }


def _s(word: str) -> str:
    """Plural of a noun, or third person singular of a verb."""
    regular = word + ("es" if word.endswith(("s", "ch", "sh", "x")) else "s")
    return str(TABLES["irregular"].get(word, regular))
