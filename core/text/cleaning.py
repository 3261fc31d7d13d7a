"""Text to words, as the original does it, or not at all.

`original`: NLTK's word tokeniser (the one that needs no downloaded data), lower case, then only
tokens made of letters stay. How large a share of the tokens survives says whether a line was a
sentence at all; punctuation does not count against it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

from core.text.settings import Level

LETTERS = re.compile(r"[^\W\d_]+")
WORD = re.compile(r"\w")
# What the tokeniser splits off a word ('s, 'll, n't): part of a word, not one that can be lost.
CLITIC = re.compile(r"['\u2019]\w+|n['\u2019]t")


class Tokenizer(Protocol):
    """NLTK's tokenisers."""

    def tokenize(self, text: str) -> list[str]:
        """Text to tokens."""
        ...


@dataclass(frozen=True)
class Cleaned:
    """The words of one sentence and the share of its tokens that survived."""

    words: list[str]
    kept: float


@cache
def tokenizer() -> Tokenizer:
    """NLTK's destructive word tokeniser (Penn Treebank conventions); imported when first used."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    result: Tokenizer = NLTKWordTokenizer()
    return result


def clean(text: str, rule: Literal["original", "none"], level: Level) -> Cleaned:
    """One line of text to its words, or to its characters (a space is a word there: U+2581)."""
    if rule == "none":
        words, kept = text.split(), 1.0
    else:
        tokens = tokenizer().tokenize(unicodedata.normalize("NFC", text).lower())
        words = [token for token in tokens if LETTERS.fullmatch(token)]
        counted = sum(1 for token in tokens if WORD.search(token) and not CLITIC.fullmatch(token))
        kept = len(words) / counted if counted else 0.0
    if level == "character":
        return Cleaned(list("\u2581".join(words)), kept)
    return Cleaned(words, kept)
