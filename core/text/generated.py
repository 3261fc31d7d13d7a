"""Sources that are drawn, not read: the sentences of the built-in grammar."""

from __future__ import annotations

from core.text.grammar import grammar
from core.text.settings import DRAWN, CorpusSettings

GRAMMAR_SEED = 0  # the data are the same whatever the run's seed


def draw_corpus(settings: CorpusSettings) -> list[list[str]]:
    """The sentences of the built-in corpus, as words."""
    count = settings.sentences or DRAWN
    return grammar(settings.difficulty).sample(count, GRAMMAR_SEED)
