"""A corpus on disk: a folder of memory-mapped word ids, a vocabulary and a manifest.

manifest.json    counts, settings, checksums, format version
vocabulary.txt   one word a line
train.ids        the words of all sentences, one behind another (uint16 or uint32)
train.offsets    where each sentence begins, and the end (int64); likewise validation, test
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InputError
from core.text.bounded import insist_on_room, read_bounded
from core.text.settings import CorpusSettings, Kind
from core.text.vocabulary import END, PAD, Vocabulary

FORMAT = 1
LONGEST_MANIFEST = 4_000_000  # bytes
OFFSET = np.dtype(np.int64)
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Manifest(BaseModel):
    """What a corpus says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    source: str
    kind: Kind
    settings: CorpusSettings
    max_words: int | None  # the limit applied
    source_sha256: str
    fingerprint: str  # SHA-256 of vocabulary, ids and offsets
    read: int  # sentences read
    kept: int
    dropped: Mapping[str, int]  # reason -> sentences
    splits: Mapping[SplitName, int]  # sentences
    words: int  # tokens kept
    vocabulary: int  # V, specials included
    longest: int  # words of the longest sentence
    id_type: Literal["uint16", "uint32"]


class Split:
    """The sentences of one split as flat ids and offsets; with `endless` none has an end."""

    def __init__(
        self, ids: np.ndarray, offsets: np.ndarray, vocabulary: Vocabulary, endless: bool = False
    ) -> None:
        self.ids, self.offsets, self.vocabulary = ids, offsets, vocabulary
        self.endless = endless

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Words of each sentence (sentences,)."""
        return np.diff(self.offsets)

    def check_fits(self, length: int) -> None:
        """InputError when a sentence and its end token have no room in `length` positions, or when
        one without an end does not fill them.
        """
        longest = int(self.lengths.max(initial=0))
        if self.endless:
            if longest != length:
                raise InputError(
                    f"the corpus has sentences of {longest} words without an end, but "
                    f"model.length = {length}; set model.length = {longest}"
                )
            return
        if longest >= length:
            raise InputError(
                f"the corpus has a sentence of {longest} words, but model.length = {length} has "
                f"room for {length - 1} and the end; raise model.length, or build the corpus with "
                f"corpus.max_words = {length - 1}"
            )

    def rows(self, indices: np.ndarray, length: int) -> np.ndarray:
        """Sentences as int64 (n, length): words, <end>, <pad>...; all must fit (`check_fits`)."""
        starts = self.offsets[indices]
        counts = self.offsets[np.asarray(indices) + 1] - starts
        column = np.arange(length)
        inside = column < counts[:, None]
        place = np.where(inside, starts[:, None] + column, 0)
        words = self.ids[place].astype(np.int64) if len(self.ids) else np.zeros_like(place)
        if words.size and words.max() >= len(self.vocabulary):
            raise InputError(
                f"the corpus has a word {words.max()}, its vocabulary only {len(self.vocabulary)}; "
                f"it is damaged, rebuild it"
            )
        return np.where(inside, words, np.where(column == counts[:, None], END, PAD))

    def sentence(self, index: int) -> list[str]:
        """One sentence as words."""
        return self.vocabulary.decode(self.ids[self.offsets[index] : self.offsets[index + 1]])

    def __iter__(self) -> Iterator[list[str]]:
        return (self.sentence(index) for index in range(len(self)))

    def sentences(self, limit: int | None = None) -> list[list[str]]:
        """The first `limit` sentences as words; all without a limit."""
        count = len(self) if limit is None else min(limit, len(self))
        return [self.sentence(index) for index in range(count)]


class Corpus:
    """An opened corpus folder."""

    def __init__(self, directory: Path, manifest: Manifest, in_memory: bool = False) -> None:
        self.directory, self.manifest = directory, manifest
        self.vocabulary = Vocabulary.load(directory / "vocabulary.txt")
        if len(self.vocabulary) != manifest.vocabulary:
            raise InputError(f"{directory}: vocabulary.txt does not match manifest.json; rebuild")
        self.train, self.validation, self.test = (self._split(name, in_memory) for name in SPLITS)

    @classmethod
    def open(cls, directory: Path, in_memory: bool = False) -> Corpus:
        """Open a folder that `build_corpus` made; InputError when it is not one, or is damaged."""
        file = directory / "manifest.json"
        try:
            if not file.exists():
                raise InputError(f"{directory}: not a corpus, it has no manifest.json")
            found = json.loads(read_bounded(file, LONGEST_MANIFEST))
            if isinstance(found, dict) and found.get("format", FORMAT) != FORMAT:
                raise InputError(
                    f"{file}: corpus format {found['format']}, this version reads {FORMAT}"
                )
            manifest = Manifest(**found)
        except (ValueError, TypeError, RecursionError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{file}: not a manifest of this version ({reason})") from None
        return cls(directory, manifest, in_memory)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        return self.manifest.fingerprint

    def splits(self) -> dict[str, Split]:
        """Name to split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def _split(self, name: SplitName, in_memory: bool) -> Split:
        try:
            file, table = (self.directory / f"{name}.{part}" for part in ("ids", "offsets"))
            dtype = np.dtype(self.manifest.id_type)
            count = self.manifest.splits.get(name, -1)
            if count < 0 or table.stat().st_size != (count + 1) * OFFSET.itemsize:
                raise InputError(
                    f"{table}: damaged, its size is not what manifest.json says; rebuild"
                )
            insist_on_room(table)
            offsets = np.fromfile(table, dtype=OFFSET)
            ascending = offsets[0] == 0 and not bool((np.diff(offsets) < 0).any())
            if not ascending or file.stat().st_size != int(offsets[-1]) * dtype.itemsize:
                raise InputError(f"{file}: damaged, its size is not what its offsets say; rebuild")
            if in_memory or offsets[-1] == 0:
                insist_on_room(file)
                ids = np.fromfile(file, dtype=dtype)
            else:
                ids = np.memmap(file, dtype=dtype, mode="r")
            return Split(ids, offsets, self.vocabulary, self.manifest.settings.endless)
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: missing from the corpus; rebuild it") from None


def describe(corpus: Corpus, top: int = 20) -> dict[str, Any]:
    """What `textgan corpus show` shows: counts, lengths, frequent words, overlap of splits."""
    counts: Counter[str] = Counter()
    lengths = np.concatenate([split.lengths for split in corpus.splits().values()])
    for split in corpus.splits().values():
        ids, frequency = np.unique(np.asarray(split.ids), return_counts=True)
        counts.update(
            {corpus.vocabulary.words[i]: int(n) for i, n in zip(ids, frequency, strict=True)}
        )
    train = {tuple(words) for words in corpus.train}
    overlap = {
        name: sum(tuple(words) in train for words in split)
        for name, split in corpus.splits().items()
        if name != "train"
    }
    quantiles = np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1]).tolist() if len(lengths) else []
    return {
        **corpus.manifest.model_dump(mode="json"),
        "length_quantiles": quantiles,
        "frequent_words": dict(counts.most_common(top)),
        "in_train_too": overlap,
    }
