"""Words to tokens and back: four special tokens, then words by frequency, ties alphabetically.

Tokens can also be characters, or subwords (parts of words, in alphabetical order). BEGIN marks the
first part of a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.files import read_bounded
from core.text.settings import Level
from core.types import END, PAD, START, UNK

MAX_BYTES = 500_000_000  # of a vocabulary's file
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
CONTROL = SPECIALS[:UNK]  # tokens that no text has
BEGIN = "\u2581"  # of a word, where tokens are parts of words


@dataclass(frozen=True)
class Vocabulary:
    """Immutable; `words[i]` is the word of token i, the special ones first. At another `level` it
    is a character, or a part of a word.
    """

    words: tuple[str, ...]
    level: Level = "word"
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[: len(SPECIALS)] != SPECIALS:
            raise InputError(f"a vocabulary must begin with {' '.join(SPECIALS)}")
        ids = {word: index for index, word in enumerate(self.words)}
        if len(ids) != len(self.words):
            raise InputError("a vocabulary must not repeat a word")
        for word in CONTROL:
            del ids[word]
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], limit: int) -> Vocabulary:
        """The `limit` most frequent words."""
        known = (word for word in counts if word not in SPECIALS)
        ranked = sorted(known, key=lambda word: (-counts[word], word))
        return cls((*SPECIALS, *ranked[:limit]))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode(self, words: Iterable[str]) -> np.ndarray:
        """Tokens (length,) int64 of words, or of what they are at the vocabulary's level; unknown
        ones and names of control tokens become <unk>.
        """
        return np.array([self._ids.get(word, UNK) for word in words], dtype=np.int64)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> list[str]:
        """Words up to the first `<end>`; padding and start tokens are left out."""
        words = []
        for token in tokens:
            if token == END:
                break
            if token not in (PAD, START):
                if token >= len(self.words):
                    raise InputError(f"token {token} is not in a vocabulary of {len(self.words)}")
                words.append(self.words[int(token)])
        return "".join(words).replace(BEGIN, " ").split() if self.level == "subword" else words

    def save(self, path: Path) -> None:
        """One word a line, UTF-8."""
        path.write_text("\n".join(self.words) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path, level: Level = "word") -> Vocabulary:
        """What `save` wrote; InputError when it is not that."""
        text = read_bounded(path, MAX_BYTES)
        try:
            return cls(tuple(text.removesuffix("\n").split("\n")), level)
        except InputError as error:
            raise InputError(f"{path}: not a vocabulary: {error}") from None
