"""The corpora of a run or a study: built once, before anything trains, and said in a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.config import Config
    from core.text.corpus import Corpus


def corpus_key(config: Config) -> str:
    """The same for two configurations that read the same corpus."""
    return f"{config.model.length} {config.corpus.model_dump_json()}"


def prepare(configs: Iterable[Config], store_dir: Path) -> dict[str, str]:
    """Build what is missing, with a bar, and check that batches can be drawn; bad input ends here.
    The fingerprint of each corpus by its key.

    InputError when a source cannot be read, leaves too little, or does not fit the model.
    """
    from core.training.batches import Batches
    from experiments.console import err, progress
    from experiments.single_run.run import open_corpus

    opened: dict[str, Corpus] = {}
    for config in configs:
        key = corpus_key(config)
        if key not in opened:
            with progress("corpus: sentences", stays=False) as advance:
                opened[key] = open_corpus(
                    config.corpus, store_dir, config.model.length, lambda n: advance(n, None, "")
                )
            err.print(summary(opened[key]), markup=False)
        train, seed = opened[key].train, config.seed
        Batches(train, config.train.batch_size, config.model.length, seed)
    return {key: corpus.fingerprint for key, corpus in opened.items()}


def summary(corpus: Corpus) -> str:
    """What a corpus kept, what it dropped and why, in a line."""
    manifest = corpus.manifest
    dropped = ", ".join(f"{n:,} {why}" for why, n in sorted(manifest.dropped.items()))
    splits = ", ".join(f"{n:,} {name}" for name, n in manifest.splits.items())
    return (
        f"{Path(manifest.source).name}: {manifest.kept:,} of {manifest.read:,} sentences kept"
        f"{f' (dropped: {dropped})' if dropped else ''}; {splits}; "
        f"{manifest.vocabulary:,} words in the vocabulary"
    )
