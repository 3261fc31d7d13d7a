"""Sources that are drawn, not read: the built-in grammar, and SeqGAN's random LSTM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import InputError
from core.text.grammar import grammar
from core.text.lstm_oracle import LENGTH, LstmOracle, lstm_oracle
from core.text.pcfg import Grammar
from core.text.settings import DRAWN, CorpusSettings

SEED = 0  # of the sentences: the data are the same whatever the run's seed

Oracle = Grammar | LstmOracle


@dataclass(frozen=True)
class Drawn:
    """Sentences as words, and the words of the language where they are known beforehand."""

    sentences: Iterable[list[str]]
    words: tuple[str, ...] = ()


def draw_corpus(settings: CorpusSettings) -> Drawn:
    """The sentences of a generated source."""
    count = settings.sentences or DRAWN
    if settings.endless:
        oracle = lstm_oracle(settings.max_words or LENGTH, settings.oracle_seed)
        return Drawn(oracle.sample(count, SEED), oracle.words)
    return Drawn(grammar(settings.difficulty).sample(count, SEED))


def oracle_of(settings: CorpusSettings, length: int) -> Oracle | None:
    """What knows the probability of every sentence of a source; None for real text."""
    if settings.endless:
        return lstm_oracle(length, settings.oracle_seed)
    return grammar(settings.difficulty) if settings.source == "grammar" else None


def fitted(settings: CorpusSettings, length: int) -> CorpusSettings:
    """The settings for a model of S = `length` steps: sentences without an end fill all of them."""
    if not settings.endless:
        return settings
    if settings.max_words not in (None, length):
        raise InputError(
            f"corpus.max_words = {settings.max_words}: sentences of {settings.source} have exactly "
            f"model.length = {length} words; leave it out"
        )
    return settings.model_copy(update={"max_words": length})
