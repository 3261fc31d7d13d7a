"""Builds a corpus folder from a source, in one pass and constant memory.

Sentences are read, cleaned and filtered; those kept are counted and written to a temporary file;
the vocabulary is made from the counts; the sentences are encoded and written to their splits. The
split of a sentence is a hash of its words, so it is the same in every corpus that has the sentence.
The folder appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import tee
from pathlib import Path
from typing import IO, Literal

import numpy as np

from core.errors import InputError
from core.files import new_folder, sha256_of
from core.text.cleaning import Cleaned, clean_all
from core.text.corpus import FORMAT, OFFSET, SPLITS, Corpus, Manifest, SplitName
from core.text.dropped import Tally, nothing_left, shortened, warnings_of
from core.text.hashing import HashSet, hash_of
from core.text.oracles import draw_corpus
from core.text.readers import kind_of, plugin_version, reader_of, shard_files
from core.text.settings import DRAWN, GENERATED, CorpusSettings, Kind, Rules, rules_for
from core.text.subwords import Subwords
from core.text.vocabulary import SPECIALS, Vocabulary
from core.types import UNK

Progress = Callable[[int], None]  # sentences kept so far
REPORT_EVERY = 1000
CLEANING = 2  # version of readers and cleaning: a run's corpus of another version is built anew


def build_corpus(
    settings: CorpusSettings,
    output: Path,
    *,
    max_words: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Build the folder `output` from `settings.source`.

    `max_words` applies if the settings have no limit of their own. InputError if no sentence is
    left, MachineError if the disk fails; nothing incomplete stays in either case.
    """
    if output.exists():
        raise InputError(f"{output}: exists already; remove it or give another --output")
    kind = kind_of_source(settings)
    rules = rules_for(settings, kind, max_words)
    sentences, known_words = _open_source(settings, kind, rules)
    with new_folder(output) as folder:
        tally = Tally()
        tally.counts.update(dict.fromkeys(known_words, 0))
        with (folder / "spill").open("w", encoding="utf-8", newline="\n") as spill:
            for words in _kept(sentences, settings, kind, rules, tally):
                spill.write(" ".join(words) + "\n")
                if progress is not None and tally.kept % REPORT_EVERY == 0:
                    progress(tally.kept)
        if settings.level == "subword":
            tokenize = Subwords(settings, tally.counts, _training_lines(folder, settings))
            vocabulary = tokenize.vocabulary
        else:
            tokenize = None
            vocabulary = Vocabulary.from_counts(tally.counts, settings.vocabulary_limit)
        _encode(folder, vocabulary, tokenize, settings, rules, tally)
        (folder / "spill").unlink()
        if min(tally.splits.values()) == 0:
            raise InputError(nothing_left(settings, rules, tally))
        vocabulary.save(folder / "vocabulary.txt")
        manifest = Manifest(
            format=FORMAT,
            source=settings.source,
            kind=kind,
            settings=settings,
            max_words=rules.max_words,
            source_sha256=source_sha256(settings, kind),
            fingerprint=fingerprint_of(folder),
            read=tally.read,
            kept=sum(tally.splits.values()),
            dropped=dict(tally.dropped),
            splits={name: tally.splits[name] for name in SPLITS},
            words=tally.words,
            vocabulary=len(vocabulary),
            longest=tally.longest,
            id_type=_id_type(vocabulary),
            warnings=() if kind == "generated" else warnings_of(settings, rules, tally),
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")
    return Corpus.open(output, settings.in_memory)


def prepare_corpus(
    settings: CorpusSettings, cache: Path, *, max_words: int, progress: Progress | None = None
) -> Corpus:
    """The corpus of a run: a built folder as it is, any other source built into `cache` once."""
    source = Path(settings.source)
    if settings.source not in GENERATED and (source / "manifest.json").exists():
        corpus = Corpus.open(source, settings.in_memory)
        if settings.level not in ("word", corpus.vocabulary.level):  # "word" is the default
            raise InputError(
                f"corpus.level = {settings.level!r}: {source} was built with level "
                f"{corpus.vocabulary.level!r}; leave corpus.level out, or build it again"
            )
        return corpus
    kind = kind_of_source(settings)
    content = settings.model_dump(mode="json", exclude={"in_memory", "source"})
    version = [FORMAT] if kind == "generated" else [FORMAT, CLEANING, *plugin_version(kind)]
    key = json.dumps([content, max_words, kind, source_sha256(settings, kind), *version])
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not folder.exists():
        try:
            build_corpus(settings, folder, max_words=max_words, progress=progress)
        except InputError:
            # Another process may have built the same corpus in the meantime.
            if not folder.exists():
                raise
    return Corpus.open(folder, settings.in_memory)


def kind_of_source(settings: CorpusSettings) -> Kind:
    """The kind of the source; InputError if there is nothing at its path."""
    generated = settings.source in GENERATED
    return "generated" if generated else kind_of(Path(settings.source), settings)


def source_sha256(settings: CorpusSettings, kind: Kind) -> str:
    """Checksum of the source's bytes; of its description for a generated one."""
    if kind == "generated":
        drawn = settings.sentences or DRAWN
        part = settings.oracle_seed if settings.fixed_length else settings.difficulty
        return hashlib.sha256(f"{settings.source} {part} {drawn}".encode()).hexdigest()
    path = Path(settings.source)
    if not path.is_dir():
        return sha256_of([path])
    shards = shard_files(path)  # the name of each counts, because its suffix says how it is read
    names = "\n".join(shard.relative_to(path).as_posix() for shard in shards)
    return hashlib.sha256(f"{sha256_of(shards)}\n{names}".encode()).hexdigest()


def fingerprint_of(folder: Path) -> str:
    """SHA-256 of a corpus folder's content: vocabulary, tokens and offsets."""
    names = ["vocabulary.txt", *(f"{s}.{part}" for s in SPLITS for part in ("ids", "offsets"))]
    return sha256_of(folder / name for name in names)


def split_of(words: list[str], settings: CorpusSettings) -> SplitName:
    """The split of a sentence, from a hash of its words."""
    place = hash_of(words) / 2**64
    if place < settings.test:
        return "test"
    return "validation" if place < settings.test + settings.validation else "train"


def _open_source(
    settings: CorpusSettings, kind: Kind, rules: Rules
) -> tuple[Iterator[tuple[str, Cleaned]], tuple[str, ...]]:
    """The sentences of the source with their words, and words that the vocabulary has even if they
    do not occur.
    """
    if kind == "generated":
        drawn, known_words = draw_corpus(settings)
        return (("", Cleaned(words, 1.0)) for words in drawn), known_words
    shown, cleaned = tee(reader_of(kind)(Path(settings.source), settings))
    return zip(shown, clean_all(cleaned, rules, settings.level), strict=True), ()


def _kept(
    sentences: Iterable[tuple[str, Cleaned]],
    settings: CorpusSettings,
    kind: Kind,
    rules: Rules,
    tally: Tally,
) -> Iterator[list[str]]:
    seen = HashSet()
    enough = settings.sentences or (DRAWN if kind == "generated" else None)
    for text, cleaned in sentences:
        if tally.kept == enough:
            return
        tally.look_at(text)
        words = cleaned.words
        if rules.cleaning == "none" and kind != "generated":
            _check_markers(settings, text, words)
        reason = _reason_to_drop(cleaned, rules)
        if reason is None and rules.drop_duplicates and not seen.add(hash_of(words)):
            reason = "duplicate"
        if reason is not None:
            tally.drop(reason, text)
            continue
        tally.kept += 1
        tally.counts.update(words)
        yield words


def _check_markers(settings: CorpusSettings, text: str, words: list[str]) -> None:
    """InputError if a word has the name of a special token."""
    for marker in SPECIALS if "<" in text else ():
        if marker in words:
            raise InputError(
                f"{settings.source}: the word {marker} in {shortened(text)!r} is the name of a "
                f"special token; remove or rename it, or set corpus.cleaning = 'original'"
            )


def _reason_to_drop(cleaned: Cleaned, rules: Rules) -> str | None:
    words = cleaned.words
    if not words:
        return "no words"
    if cleaned.kept < rules.min_kept:
        return "too few words kept"
    if len(words) < rules.min_words:
        return "too short"
    if rules.max_words is not None and len(words) > rules.max_words:
        return "too long"
    return None


def _training_lines(folder: Path, settings: CorpusSettings) -> Iterator[str]:
    with (folder / "spill").open(encoding="utf-8", newline="\n") as spill:
        for line in spill:
            sentence = line.removesuffix("\n")
            if split_of(sentence.split(" "), settings) == "train":
                yield sentence


def _encode(
    folder: Path,
    vocabulary: Vocabulary,
    tokenize: Subwords | None,
    settings: CorpusSettings,
    rules: Rules,
    tally: Tally,
) -> None:
    dtype = np.dtype(_id_type(vocabulary))
    ends = dict.fromkeys(SPLITS, 0)
    with ExitStack() as opened:

        def new(part: str) -> dict[SplitName, IO[bytes]]:
            files = {name: (folder / f"{name}.{part}").open("wb") for name in SPLITS}
            return {name: opened.enter_context(file) for name, file in files.items()}

        files, offsets = new("ids"), new("offsets")
        for file in offsets.values():
            file.write(OFFSET.type(0).tobytes())
        with (folder / "spill").open(encoding="utf-8", newline="\n") as spill:
            for line in spill:
                words = line.removesuffix("\n").split(" ")
                name = split_of(words, settings)
                tokens = tokenize(words) if tokenize is not None else words
                ids = vocabulary.encode(tokens)
                if settings.unknown == "drop" and UNK in ids:
                    tally.drop("not covered by the vocabulary", " ".join(words))
                    continue
                if rules.max_words is not None and len(ids) > rules.max_words:  # of subwords
                    tally.drop("too long", " ".join(words))
                    continue
                files[name].write(ids.astype(dtype).tobytes())
                ends[name] += len(ids)
                offsets[name].write(OFFSET.type(ends[name]).tobytes())
                tally.splits[name] += 1
                tally.words += len(ids)
                tally.longest = max(tally.longest, len(ids))


def _id_type(vocabulary: Vocabulary) -> Literal["uint16", "uint32"]:
    return "uint16" if len(vocabulary) <= 2**16 else "uint32"
