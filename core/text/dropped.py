"""Warnings of a corpus build: which rules dropped sentences, and text without spaces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.text.corpus import SPLITS, SplitName
from core.text.settings import UNITS, CorpusSettings, Rules

MOST_LOST = 0.1  # share of the sentences that may be dropped without a warning
SHOWN_REASONS = 4
SHOWN = 80  # characters of an example
LOOKED_AT = 1000  # texts that tell the script
# Scripts without spaces between words. If the mean length of an uninterrupted run of their letters
# is above the number, the text is not split into words yet.
UNSPACED = {
    "Chinese or Japanese": (
        re.compile(r"[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"),
        3,
    ),
    "Thai, Lao, Burmese or Khmer": (
        re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"),
        8,
    ),
}
# Reason: the setting that dropped a sentence, and what keeps it.
RULES = {
    "no words": ("corpus.cleaning = '{rules.cleaning}'", "corpus.cleaning = 'none' keeps them"),
    "too short": ("corpus.min_words = {rules.min_words}", "corpus.min_words = 1 keeps them"),
    "too long": (
        "corpus.max_words = {rules.max_words}{unit}",
        "larger corpus.max_words and model.length keep them",
    ),
    "too few words kept": (
        "corpus.min_kept = {rules.min_kept}",
        "corpus.min_kept = 0 keeps their words, corpus.cleaning = 'none' keeps all of them",
    ),
    "duplicate": ("corpus.duplicates = 'drop'", "corpus.duplicates = 'keep' keeps them"),
    "not covered by the vocabulary": (
        "corpus.vocabulary_limit = {settings.vocabulary_limit}",
        "corpus.unknown = 'unk' or a larger limit keeps them",
    ),
}


@dataclass
class Tally:
    """Counts of the sentences so far."""

    read: int = 0
    kept: int = 0
    words: int = 0
    longest: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    examples: dict[str, str] = field(default_factory=dict)  # the first sentence of each reason
    texts: list[str] = field(default_factory=list)  # the first ones, as read
    counts: Counter[str] = field(default_factory=Counter)  # of words
    splits: dict[SplitName, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))

    def look_at(self, text: str) -> None:
        """Count the next sentence."""
        self.read += 1
        if len(self.texts) < LOOKED_AT:
            self.texts.append(text[:LOOKED_AT])

    def drop(self, reason: str, text: str) -> None:
        """Count a dropped sentence."""
        self.dropped[reason] += 1
        self.examples.setdefault(reason, shortened(text))


def shortened(text: str) -> str:
    """The beginning of a sentence, as an example in a message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def warnings_of(settings: CorpusSettings, rules: Rules, tally: Tally) -> tuple[str, ...]:
    """One warning per rule if the rules dropped more than a tenth, and one for a missing split into
    words.
    """
    found = []
    if tally.dropped.total() > MOST_LOST * tally.read:
        for reason, count in tally.dropped.most_common(SHOWN_REASONS):
            found.append(
                f"{settings.source}: {count:,} of {tally.read:,} sentences dropped: {reason} "
                f"({_rule(reason, settings, rules)}), {_advice(reason, tally)}"
            )
    if proposal := _proposal(settings, tally.texts):
        found.append(f"{settings.source}: {proposal}")
    return tuple(found)


def nothing_left(settings: CorpusSettings, rules: Rules, tally: Tally) -> str:
    """The error of a corpus that lacks sentences for a split."""
    if tally.read == 0:
        return f"{settings.source}: no sentence found in it"
    left = sum(tally.splits.values())
    found = (
        f"{settings.source}: {left:,} of {tally.read:,} sentences left, too few for three splits "
        f"(train, validation, test)"
    )
    if not tally.dropped:
        return f"{found}; give a longer text"
    reasons = [
        f"{count:,} {why} ({_rule(why, settings, rules)})"
        for why, count in tally.dropped.most_common(SHOWN_REASONS)
    ]
    first = tally.dropped.most_common(1)[0][0]
    advice = _proposal(settings, tally.texts) or f"{first}: {_advice(first, tally)}"
    return f"{found}; dropped: {', '.join(reasons)}\n{advice}"


def _rule(reason: str, settings: CorpusSettings, rules: Rules) -> str:
    """The setting that dropped a sentence."""
    unit = "" if settings.level == "word" else f" {UNITS[settings.level]}"
    return RULES[reason][0].format(settings=settings, rules=rules, unit=unit)


def _advice(reason: str, tally: Tally) -> str:
    """An example, and the setting that would have kept it."""
    return f"such as {tally.examples[reason]!r}; {RULES[reason][1]}"


def _proposal(settings: CorpusSettings, texts: Sequence[str]) -> str | None:
    """Another level, if most letters are of a script without spaces and words are joined."""
    if settings.level != "word":
        return None
    letters = sum(letter.isalpha() for text in texts for letter in text)
    for script, (pattern, longest) in UNSPACED.items():
        runs = [len(run) for text in texts if not text.isascii() for run in pattern.findall(text)]
        if sum(runs) > letters / 2 and sum(runs) > longest * len(runs):
            return (
                f"{script} has no spaces between words; set corpus.level = 'character', or give "
                f"text that is split into words"
            )
    return None
