"""The built-in corpus: short, fortune-like English out of a probabilistic grammar.

    every patient teacher who keeps old promises never fears the quiet road

Number agreement is the hard part: the verb of the main clause agrees with a subject that a whole
relative clause may stand before, and both may hold other nouns of either number. The grammar is
unambiguous (a test counts its derivations), so `entropy` is the exact entropy of a sentence.

Word weights fall as 1 / (rank + 3), as in natural text a few words do most of the work.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from core.text.pcfg import Grammar, Rule

Difficulty = Literal["easy", "default", "hard"]


LISTED = tomllib.loads(Path(__file__).with_name("grammar.toml").read_text(encoding="utf-8"))
IRREGULAR: Mapping[str, str] = LISTED.pop("irregular")
WORDS: Mapping[str, tuple[str, ...]] = {kind: tuple(text.split()) for kind, text in LISTED.items()}


@dataclass(frozen=True)
class Size:
    """How many words of each kind, and which constructions."""

    nouns: int  # people and things, each in both numbers
    verbs: int
    adjectives: int
    small_words: int  # of each closed class
    object_relatives: bool = False  # "whom the rivals admire"
    object_clauses: bool = True  # "... the road that outlives my rivals"
    adjuncts: bool = True  # how often, and where
    joined: bool = True  # two clauses


SIZES = {
    "easy": Size(9, 6, 7, 4, object_clauses=False, adjuncts=False, joined=False),
    "default": Size(24, 22, 30, 10, object_relatives=True),
    "hard": Size(32, 28, 40, 14, object_relatives=True),
}


@cache
def grammar(difficulty: Difficulty = "default") -> Grammar:
    """The grammar at one of its difficulties."""
    size = SIZES[difficulty]
    rules = _rules(size, deep=difficulty == "hard")
    words = _words(size)
    reached = {s for alternatives in rules.values() for _, right in alternatives for s in right}
    kept = {tag: words[tag] for tag in words if tag in reached}
    return Grammar("S", rules, kept, f"grammar:{difficulty}")


def _rules(size: Size, *, deep: bool) -> dict[str, list[Rule]]:
    rules: dict[str, list[Rule]] = {"S": [(1.0, (f"CLAUSE_{n}",)) for n in ("sg", "pl")]}
    if size.joined:
        rules["S"] += [
            (0.35, (f"SHORT_{a}", "JOIN", f"SHORT_{b}")) for a in ("sg", "pl") for b in ("sg", "pl")
        ]
    for n in ("sg", "pl"):
        person, things = f"PERSON_{n}", f"THING_{n}"
        rules |= {
            f"CLAUSE_{n}": [
                (3.0, (person, f"PREDICATE_{n}")),
                (1.0, (things, f"RULES_{n}", "OBJECT_P")),
            ],
            f"SHORT_{n}": [(1.0, (f"DET_{n}", f"N_{n}", f"BRIEF_{n}"))],
            person: [
                (2.0, (f"DET_{n}", f"N_{n}")),
                (2.0, (f"DET_{n}", "ADJ", f"N_{n}")),
            ],
            things: [(1.0, (f"DET_{n}", f"T_{n}")), (1.0, (f"DET_{n}", "ADJ", f"T_{n}"))],
            f"DET_{n}": [(1.0, (f"D_{n}",)), (1.2, ("D_any",))],
            f"PREDICATE_{n}": [
                (2.0, (f"VT_{n}", "OBJECT_T")),
                (1.0, (f"VT_{n}", "OBJECT_P")),
                (0.8, (f"VI_{n}", "HOW")),
                (0.7, (f"BE_{n}", "ADJ")),
            ],
            f"BRIEF_{n}": [
                (2.0, (f"VT_{n}", "OBJECT_T")),
                (1.0, (f"VI_{n}",)),
                (0.7, (f"BE_{n}", "ADJ")),
            ],
        }
        if size.adjuncts:
            rules[f"PREDICATE_{n}"] += [
                (1.0, ("OFTEN", f"VT_{n}", "OBJECT_T")),
                (0.8, (f"VI_{n}", "WHERE", "OBJECT_T")),
            ]
        if size.object_clauses:
            rules[f"PREDICATE_{n}"] += [
                (0.4, (f"VT_{n}", f"DET_{m}", f"T_{m}", "that", f"RULES_{m}", "OBJECT_P"))
                for m in ("sg", "pl")
            ]
        # "who keeps ...", agreement carried across it
        relative: list[Rule] = [(1.0, ("who", f"VT_{n}", "OBJECT_T"))]
        if size.object_relatives:
            relative += [(0.3, ("whom", f"DET_{m}", f"N_{m}", f"VT_{m}")) for m in ("sg", "pl")]
        rules[f"REL_{n}"] = relative
        rules[person] += [(1.2, (f"DET_{n}", f"N_{n}", f"REL_{n}"))]
        if deep:
            rules[person] += [(1.0, (f"DET_{n}", "ADJ", f"N_{n}", f"REL_{n}"))]
    rules["OBJECT_T"] = [(1.0, ("THING_sg",)), (1.0, ("THING_pl",))]
    rules["OBJECT_P"] = [
        (1.0, (f"DET_{n}", *adjective, f"N_{n}"))
        for n in ("sg", "pl")
        for adjective in ((), ("ADJ",))
    ]
    return rules


def _words(size: Size) -> dict[str, dict[str, float]]:
    people, things = WORDS["people"][: size.nouns], WORDS["things"][: size.nouns]
    transitive = WORDS["transitive"][: size.verbs]
    intransitive = WORDS["intransitive"][: size.verbs]
    of_things, few = WORDS["of_things"][: size.small_words], size.small_words
    return {
        "N_sg": _weighted(people),
        "N_pl": _weighted([_s(word) for word in people]),
        "T_sg": _weighted(things),
        "T_pl": _weighted([_s(word) for word in things]),
        "VT_sg": _weighted([_s(word) for word in transitive]),
        "VT_pl": _weighted(transitive),
        "VI_sg": _weighted([_s(word) for word in intransitive]),
        "VI_pl": _weighted(intransitive),
        "RULES_sg": _weighted([_s(word) for word in of_things]),
        "RULES_pl": _weighted(of_things),
        "BE_sg": {"is": 1.0},
        "BE_pl": {"are": 1.0},
        "ADJ": _weighted(WORDS["adjectives"][: size.adjectives]),
        "OFTEN": _weighted(WORDS["often"][:few]),
        "HOW": _weighted(WORDS["how"][:few]),
        "WHERE": _weighted(WORDS["where"][:few]),
        "D_sg": _weighted(WORDS["singular"][:few]),
        "D_pl": _weighted(WORDS["plural"][:few]),
        "D_any": _weighted(WORDS["either"]),
        "JOIN": _weighted(WORDS["joiners"][:few]),
        "who": {"who": 1.0},
        "whom": {"whom": 1.0},
        "that": {"that": 1.0},
    }


def _weighted(words: Sequence[str]) -> dict[str, float]:
    return {word: 1.0 / (rank + 3) for rank, word in enumerate(words)}


def _s(word: str) -> str:
    """Plural of a noun, or third person singular of a verb."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    return word + ("es" if word.endswith(("s", "ch", "sh", "x")) else "s")
