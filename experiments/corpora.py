"""Corpora: built before anything trains, reopened for a run, and shown by `textgan corpus`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.text import Text

from core.config import Config, parse, read_toml
from core.metrics.audit import audit
from core.metrics.files import read_sentences
from core.plural import count
from core.text.corpus import Corpus, describe
from core.text.settings import UNITS
from core.tracking.protocol import Tracker
from core.training.batches import Batches
from experiments.console import print_json, progress, stderr, stdout, table
from experiments.loading import open_corpus
from variants import registry


def corpus_key(config: Config) -> str:
    """Equal for two configurations that read the same corpus."""
    return f"{config.model.length} {config.corpus.model_dump_json()}"


def prepare(configs: Iterable[Config], store_dir: Path) -> dict[str, str]:
    """Build the missing corpora with a progress bar; the fingerprint of each, by its key.

    InputError when a source cannot be read, leaves too few sentences, or does not fit the model.
    """
    opened: dict[str, Corpus] = {}
    for config in configs:
        key = corpus_key(config)
        if key not in opened:
            with progress("corpus: sentences", stays=False) as advance:
                opened[key] = open_corpus(
                    config.corpus, store_dir, config.model.length, lambda n: advance(n, None, "")
                )
            show_summary(opened[key])
        # Fails if no batch can be drawn.
        Batches(opened[key].train, config.train.batch_size, config.model.length, config.seed)
    return {key: corpus.fingerprint for key, corpus in opened.items()}


def config_of(tracker: Tracker, run_id: str) -> Config:
    """The configuration of a run in the store."""
    file = tracker.artifact(run_id, "config.toml")
    return parse(read_toml(file), registry(), str(file))


def corpus_of(tracker: Tracker, run_id: str) -> Corpus:
    """The corpus of a run in the store, built again if it is gone."""
    config = config_of(tracker, run_id)
    return open_corpus(config.corpus, tracker.store_dir, config.model.length)


def show_summary(corpus: Corpus) -> None:
    """Print a line with the numbers of kept and dropped sentences, the splits and the vocabulary,
    and the warnings of the build.
    """
    manifest = corpus.manifest
    dropped = ", ".join(f"{n:,} {why}" for why, n in sorted(manifest.dropped.items()))
    splits = ", ".join(f"{n:,} {name}" for name, n in manifest.splits.items())
    stderr.print(
        f"{Path(manifest.source).name}: {manifest.kept:,} of {manifest.read:,} sentences kept"
        f"{f' (dropped: {dropped})' if dropped else ''}; {splits}; "
        f"{manifest.vocabulary:,} {UNITS[manifest.settings.level]} in the vocabulary",
        markup=False,
    )
    for warning in manifest.warnings:
        stderr.print(f"warning: {warning}", markup=False)


def show(corpus: Corpus, *, as_json: bool) -> None:
    """Print what a corpus holds, and the audit of its splits."""
    audited, warnings = _audit(corpus.splits())
    warnings = [*corpus.manifest.warnings, *warnings]
    document = {**describe(corpus), "audit": audited, "warnings": warnings}
    if as_json:
        print_json(document)
        return
    plain = {k: v for k, v in document.items() if not isinstance(v, dict | list)}
    stdout.print(table(["", ""], [[key, "-" if v is None else str(v)] for key, v in plain.items()]))
    for key in ("splits", "dropped", "in_train_too", "frequent_words"):
        counts = [Text(f"{name} {n:,}") for name, n in document[key].items()]
        unit = UNITS[corpus.manifest.settings.level]
        stdout.print(f"\n[bold]{key.replace('_', ' ').replace('words', unit)}[/]")
        stdout.print(Columns(counts, padding=(0, 2)) if counts else "none")
    for words in corpus.train.sentences(5):
        stdout.print("  " + " ".join(words), markup=False)
    _show_audit(audited, warnings)


def show_files(paths: Sequence[Path], *, as_json: bool) -> None:
    """Print the sizes of text files that are splits of one corpus, and their audit."""
    named = {path.name for path in paths}
    names = [path.name if len(named) == len(paths) else str(path) for path in paths]
    texts = {name: read_sentences(path) for name, path in zip(names, paths, strict=True)}
    audited, warnings = _audit(texts)
    counts = {name: len(text) for name, text in texts.items()}
    if as_json:
        print_json({"splits": counts, "audit": audited, "warnings": warnings})
        return
    stdout.print("  ".join(f"{name} {count(n, 'sentence')}" for name, n in counts.items()))
    _show_audit(audited, warnings)


def _audit(splits: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    pairs = audit(splits)
    return [asdict(p) for p in pairs], [w for p in pairs for w in p.warnings()]


def _show_audit(audited: Sequence[Mapping[str, Any]], warnings: Sequence[str]) -> None:
    def cell(distance: dict[str, float] | None) -> str:
        if distance is None:
            return "too few"
        return f"{distance['value']:.3f} (random split {distance['resplit_mean']:.3f})"

    rows = [
        [f"{pair['first']}, {pair['second']}", f"{pair['shared']:.2%}",
         cell(pair["words"]), cell(pair["lengths"])]
        for pair in audited
    ]  # fmt: skip
    stdout.print("\n[bold]split audit[/]")
    stdout.print(table(["splits", "shared sentences", "word distance", "length distance"], rows))
    for warning in warnings:
        stderr.print(f"warning: {warning}", markup=False)
