"""Subwords as tokens: byte-pair encoding (Sennrich et al. 2016) or a unigram language model (Kudo
2018), trained on the training split by the library `tokenizers`.

A built corpus does not need the library: its vocabulary is enough to make words of its tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from core.errors import InputError
from core.text.settings import CorpusSettings
from core.text.vocabulary import BEGIN, SPECIALS, Vocabulary
from core.types import UNK

UNKNOWN = SPECIALS[UNK]


class Subwords:
    """Splits words into the subwords of `vocabulary`. Trained on `sentences` of a text that has
    these `words`; InputError without the library.
    """

    def __init__(
        self, settings: CorpusSettings, words: Iterable[str], sentences: Iterable[str]
    ) -> None:
        try:
            from tokenizers import Tokenizer, pre_tokenizers
        except ModuleNotFoundError:
            raise InputError(
                "corpus.level = 'subword' needs the package tokenizers; pip install "
                "'textgan-lab[subword]'"
            ) from None
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # sums do not depend on the cores
        characters = len(set().union(BEGIN, *words))
        if characters > settings.vocabulary_limit:
            raise InputError(
                f"{settings.source}: corpus.vocabulary_limit = {settings.vocabulary_limit}: its "
                f"{characters:,} characters are subwords too, so give more"
            )
        model, trainer = _model(settings)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(BEGIN, prepend_scheme="always")
        self._tokenizer.train_from_iterator(sentences, trainer)
        found = sorted(set(self._tokenizer.get_vocab()) - {UNKNOWN})
        self.vocabulary = Vocabulary((*SPECIALS, *found), level="subword")

    def __call__(self, words: Sequence[str]) -> list[str]:
        """The subwords of a sentence; what has none is no token of the vocabulary, or UNKNOWN."""
        tokens: list[str] = self._tokenizer.encode(words, is_pretokenized=True).tokens
        return tokens


def _model(settings: CorpusSettings) -> tuple[Any, Any]:
    """A model of `tokenizers` and its trainer; the library has no types."""
    from tokenizers import models, trainers

    size = settings.vocabulary_limit + 1  # with UNKNOWN
    given: dict[str, Any] = {
        "vocab_size": size,
        "special_tokens": [UNKNOWN],
        "show_progress": False,
    }
    if settings.subwords == "bpe":
        return models.BPE(unk_token=UNKNOWN), trainers.BpeTrainer(**given)
    return models.Unigram(), trainers.UnigramTrainer(**given, unk_token=UNKNOWN)
