"""What a run is made of before it has any weights: its corpus, its batches, its oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from core.batches import Batches
from core.config import Config
from core.shares import ALONE, Share
from core.text.build import prepare_corpus
from core.text.corpus import Corpus
from core.text.generated import Oracle, draw_corpus, fitted, oracle_of
from core.text.settings import CorpusSettings


@dataclass(frozen=True)
class Parts:
    """What a run is made of, before any weights."""

    config: Config
    device: torch.device
    corpus: Corpus
    batches: Batches
    oracle: Oracle | None
    tested: bool = False
    share: Share = ALONE


def prepare(
    config: Config, device: torch.device, store_dir: Path, share: Share, tested: bool
) -> Parts:
    """The parts of a run of `config`; a `tested` one will look at the test split at its end."""
    oracle = oracle_of(config.corpus, config.model.length)
    corpus = open_corpus(config.corpus, store_dir, config.model.length)
    size, length = config.train.batch_size, config.model.length
    batches = Batches(corpus.train, size, length, config.seed, share)
    return Parts(config, device, corpus, batches, oracle, tested, share)


def open_corpus(
    settings: CorpusSettings,
    store_dir: Path,
    length: int,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """The corpus of a run, built below the store's folder unless it is there already.

    `progress` hears how many sentences a build has kept so far.
    """
    return prepare_corpus(
        fitted(settings, length),
        store_dir / "corpora",
        max_words=length - 1,
        generate=draw_corpus,
        progress=progress,
    )
