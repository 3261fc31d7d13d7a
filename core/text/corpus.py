"""A corpus on disk: a folder of memory-mapped word ids, a vocabulary and a manifest.

manifest.json    counts, settings, checksums, format version
vocabulary.txt   one word a line
train.ids        the words of all sentences, one behind another (uint16 or uint32)
train.offsets    where each sentence begins, and the end (int64); likewise validation, test
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InputError
from core.text.bounded import insist_on_room, read_bounded
from core.text.known import Known, all_keys
from core.text.mapped import Held, Mapped
from core.text.settings import CorpusSettings, Kind
from core.text.vocabulary import Vocabulary
from core.types import END, PAD

FORMAT = 1
LONGEST_MANIFEST = 4_000_000  # bytes
OFFSET = np.dtype(np.int64)
PIECE = 2**13  # sentences that a walk over all of them looks at together: some megabytes of numbers
AT_ONCE = 32  # rows drawn before a look at what is held of the files
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
    """The sentences of one split as flat ids and offsets; with `endless` none has an end. Of the
    files that they lie in no more is held than was touched lately.
    """

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        vocabulary: Vocabulary,
        endless: bool = False,
        files: Sequence[Mapped] = (),
    ) -> None:
        self.ids, self.offsets, self.vocabulary = ids, offsets, vocabulary
        self.endless, self._held = endless, Held(files)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The whole split in its order, some sentences at a time: flat ids and lengths."""
        for begin in range(0, len(self), PIECE):
            offsets = np.array(self.offsets[begin : begin + PIECE + 1])
            yield self.ids[offsets[0] : offsets[-1]], np.diff(offsets)
            self._held.give_back()

    @cached_property
    def length_counts(self) -> np.ndarray:
        """How many sentences have 0, 1, 2, ... words (longest + 1,)."""
        counts = np.zeros(1, dtype=np.int64)
        for _, lengths in self.pieces():
            found = np.bincount(lengths, minlength=len(counts))
            found[: len(counts)] += counts
            counts = found
        return counts

    def check_fits(self, length: int) -> None:
        """InputError when a sentence and its end token have no room in `length` positions, or when
        one without an end does not fill them.
        """
        longest = len(self.length_counts) - 1
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
        """Token ids as int64 (n, length), padded with `<pad>`; all must fit (`check_fits`)."""
        found = np.empty((len(indices), length), dtype=np.int64)
        for begin in range(0, len(indices), AT_ONCE):
            some = np.asarray(indices[begin : begin + AT_ONCE])
            found[begin : begin + AT_ONCE] = self._rows(some, length)
            self._held.look()
        return found

    def _rows(self, indices: np.ndarray, length: int) -> np.ndarray:
        starts = self.offsets[indices]
        counts = self.offsets[indices + 1] - starts
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
        for ids, lengths in self.pieces():
            ends = np.cumsum(lengths)
            for begin, end in zip(ends - lengths, ends, strict=True):
                yield self.vocabulary.decode(ids[begin:end])

    def sentences(self, limit: int | None = None) -> list[list[str]]:
        """The first `limit` sentences as words; all without a limit."""
        return list(islice(self, limit))

    def known(self) -> Known:
        """Which sentences it has."""
        return Known(self.keys(), self.vocabulary)

    def keys(self) -> np.ndarray:
        """What each sentence is known by (sentences,), see `core.text.known`."""
        return all_keys(self.pieces(), len(self))


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
            mapped = [Mapped(table, OFFSET)]
            offsets = mapped[0].values
            if not _ascend(mapped[0]) or file.stat().st_size != int(offsets[-1]) * dtype.itemsize:
                raise InputError(f"{file}: damaged, its size is not what its offsets say; rebuild")
            if in_memory or offsets[-1] == 0:
                insist_on_room(file)
                ids = np.fromfile(file, dtype=dtype)
            else:
                mapped.append(Mapped(file, dtype))
                ids = mapped[1].values
            return Split(ids, offsets, self.vocabulary, self.manifest.settings.endless, mapped)
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: missing from the corpus; rebuild it") from None


def _ascend(table: Mapped) -> bool:
    """Whether offsets begin at 0 and none is smaller than the one before it."""
    for begin in range(0, len(table.values), PIECE):
        if (np.diff(table.values[begin : begin + PIECE + 1]) < 0).any():
            return False
        table.give_back()
    return bool(table.values[0] == 0)


def describe(corpus: Corpus, top: int = 20) -> dict[str, Any]:
    """What `textgan corpus show` shows: counts, lengths, frequent words, overlap of splits."""
    splits = corpus.splits()
    V, longest = len(corpus.vocabulary), max(len(s.length_counts) for s in splits.values())
    words, lengths = np.zeros(V, dtype=np.int64), np.zeros(longest, dtype=np.int64)
    for split in splits.values():
        lengths[: len(split.length_counts)] += split.length_counts
        for ids, _ in split.pieces():
            words += np.bincount(ids, minlength=V)
    train = corpus.train.known()
    overlap = {
        name: int(train.has(split.keys()).sum())
        for name, split in splits.items()
        if name != "train"
    }
    counts = Counter(
        {word: int(n) for word, n in zip(corpus.vocabulary.words, words, strict=True) if n}
    )
    quantiles = _quantiles(lengths, [0, 0.25, 0.5, 0.75, 1]) if lengths.sum() else []
    return {
        **corpus.manifest.model_dump(mode="json"),
        "length_quantiles": quantiles,
        "frequent_words": dict(counts.most_common(top)),
        "in_train_too": overlap,
    }


def _quantiles(counts: np.ndarray, shares: list[float]) -> list[float]:
    """Quantiles of lengths, of which `counts[n]` are n, as `np.quantile` has them."""
    ends, places = np.cumsum(counts), (counts.sum() - 1) * np.array(shares)
    low, high = (
        np.searchsorted(ends, at, side="right") for at in (np.floor(places), np.ceil(places))
    )
    found: list[float] = (low + (high - low) * (places % 1)).tolist()
    return found
