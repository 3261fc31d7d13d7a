"""A corpus on disk: a folder of memory-mapped tokens, a vocabulary and a manifest.

manifest.json    counts, settings, checksums, format version
vocabulary.txt   one word a line
train.ids        the tokens of all sentences, concatenated (uint16 or uint32)
train.offsets    where each sentence begins, and the end (int64); likewise validation, test

Reading a mapped file brings up to 2 MB around the place into the process. The system may take these
pages back at any time, but until then they count as memory of the process. So they are released
whenever there are more than `MAX_RESIDENT` bytes: a process holds no more of a corpus than that.
"""

from __future__ import annotations

import json
import mmap
import resource
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InputError, first_line
from core.faults import first_fault
from core.files import check_fits_in_memory, read_bounded
from core.text.hashing import SentenceSet, keys_of
from core.text.settings import CorpusSettings, Kind
from core.text.vocabulary import Vocabulary
from core.types import END, PAD

FORMAT = 1
MAX_MANIFEST = 4_000_000  # bytes
MAX_RESIDENT = 2**26  # bytes of mapped files in memory
OFFSET = np.dtype(np.int64)
PIECE = 2**13  # sentences read together where all of a split are: some megabytes of numbers
QUARTILES = (0, 0.25, 0.5, 0.75, 1)
ROWS = 32  # rows read between two checks of resident memory
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    source: str
    kind: Kind
    settings: CorpusSettings
    max_words: int | None  # the limit applied
    source_sha256: str
    fingerprint: str  # SHA-256 of vocabulary, tokens and offsets
    read: int  # sentences read
    kept: int
    dropped: Mapping[str, int]  # reason -> sentences
    splits: Mapping[SplitName, int]  # sentences
    words: int  # words kept
    vocabulary: int  # V, special tokens included
    longest: int  # words of the longest sentence
    id_type: Literal["uint16", "uint32"]
    warnings: tuple[str, ...] = ()  # sentences for people: what was dropped, if it is much


class MappedFile:
    """A file of numbers of one type; `values` is the read-only array."""

    def __init__(self, file: Path, dtype: np.dtype) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self.values: np.ndarray = np.frombuffer(self._map, dtype)

    def release(self) -> None:
        """Release its pages; the next access reads them again, mostly from the system's cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class Resident:
    """Keeps the resident pages of some files below `MAX_RESIDENT`."""

    def __init__(self, files: Sequence[MappedFile]) -> None:
        self._files, self._before = files, resident_file_bytes()

    def limit(self) -> None:
        """Release the pages if there are too many."""
        if self._files and resident_file_bytes() - self._before > MAX_RESIDENT:
            self.release()

    def release(self) -> None:
        """Release the pages."""
        for file in self._files:
            file.release()
        self._before = resident_file_bytes()


def resident_file_bytes() -> int:
    """Bytes of files that this process holds in memory; 0 where the system does not tell."""
    try:
        pages_of_files = Path("/proc/self/statm").read_text().split()[2]
    except FileNotFoundError:
        return 0
    return int(pages_of_files) * resource.getpagesize()


def spaced(count: int, most: int) -> list[int]:
    """The indices of at most `most` evenly spaced things of `count`. A text may have an order, such
    as that of the files it comes from, so its first sentences may differ from the others.
    """
    kept = min(count, most)
    return [i * count // kept for i in range(kept)]


class Split:
    """The sentences of one split as flat tokens `ids` (tokens,) and `offsets` (sentences + 1,).

    With `fixed_length` no sentence has an end token. `files` are the mapped files of the arrays.
    """

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        vocabulary: Vocabulary,
        fixed_length: bool = False,
        files: Sequence[MappedFile] = (),
    ) -> None:
        self.ids, self.offsets, self.vocabulary = ids, offsets, vocabulary
        self.fixed_length, self._resident = fixed_length, Resident(files)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The whole split in its order, `PIECE` sentences at a time: flat tokens and lengths."""
        for begin in range(0, len(self), PIECE):
            offsets = np.array(self.offsets[begin : begin + PIECE + 1])
            yield self.ids[offsets[0] : offsets[-1]], np.diff(offsets)
            self._resident.release()

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
        """InputError if a sentence and its end token do not fit in `length` positions, or if
        sentences of fixed length do not fill them.
        """
        longest = len(self.length_counts) - 1
        if self.fixed_length:
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
        """Tokens as int64 (n, length), padded with `<pad>`; all must fit (`check_fits`)."""
        found = np.empty((len(indices), length), dtype=np.int64)
        for begin in range(0, len(indices), ROWS):
            some = np.asarray(indices[begin : begin + ROWS])
            found[begin : begin + ROWS] = self._rows(some, length)
            self._resident.limit()
        return found

    def _rows(self, indices: np.ndarray, length: int) -> np.ndarray:
        starts = self.offsets[indices]
        counts = self.offsets[indices + 1] - starts
        column = np.arange(length)
        inside = column < counts[:, None]
        place = np.where(inside, starts[:, None] + column, 0)
        tokens = self.ids[place].astype(np.int64) if len(self.ids) else np.zeros_like(place)
        if tokens.size and tokens.max() >= len(self.vocabulary):
            raise InputError(
                f"the corpus has a token {tokens.max()}, but a vocabulary of "
                f"{len(self.vocabulary)} words; it is damaged, rebuild it"
            )
        return np.where(inside, tokens, np.where(column == counts[:, None], END, PAD))

    def sentence(self, index: int) -> list[str]:
        """One sentence as words."""
        return self.vocabulary.decode(self.ids[self.offsets[index] : self.offsets[index + 1]])

    def __iter__(self) -> Iterator[list[str]]:
        for ids, lengths in self.pieces():
            ends = np.cumsum(lengths)
            for begin, end in zip(ends - lengths, ends, strict=True):
                yield self.vocabulary.decode(ids[begin:end])

    def sentences(self, limit: int | None = None) -> list[list[str]]:
        """All sentences as words, or `limit` evenly spaced ones."""
        if limit is None or limit >= len(self):
            return list(self)
        return [self.sentence(index) for index in spaced(len(self), limit)]

    def sentence_set(self) -> SentenceSet:
        """Its sentences, to look others up in."""
        return SentenceSet(self.keys(), self.vocabulary)

    def keys(self) -> np.ndarray:
        """The key of each sentence (sentences,) uint64, see `core.text.hashing`."""
        keys, place = np.empty(len(self), dtype=np.uint64), 0
        for tokens, lengths in self.pieces():
            keys[place : place + len(lengths)] = keys_of(tokens, lengths)
            place += len(lengths)
        return keys


class Corpus:
    """An opened corpus folder."""

    def __init__(self, directory: Path, manifest: Manifest, in_memory: bool = False) -> None:
        self.directory, self.manifest = directory, manifest
        level = manifest.settings.level
        self.vocabulary = Vocabulary.load(directory / "vocabulary.txt", level)
        if len(self.vocabulary) != manifest.vocabulary:
            raise InputError(f"{directory}: vocabulary.txt does not match manifest.json; rebuild")
        self.train, self.validation, self.test = (self._split(name, in_memory) for name in SPLITS)

    @classmethod
    def open(cls, directory: Path, in_memory: bool = False) -> Corpus:
        """Open a folder that `build_corpus` made; InputError for any other or a damaged one."""
        file = directory / "manifest.json"
        try:
            if not directory.exists():
                raise InputError(f"{directory}: no such folder")
            if not file.exists():
                raise InputError(f"{directory}: not a corpus, it has no manifest.json")
            found = json.loads(read_bounded(file, MAX_MANIFEST))
            if isinstance(found, dict) and found.get("format", FORMAT) != FORMAT:
                raise InputError(
                    f"{file}: corpus format {found['format']}, this version reads {FORMAT}"
                )
            manifest = Manifest(**found)
        except (ValueError, TypeError, RecursionError) as error:
            reason = first_fault(error) if isinstance(error, ValidationError) else first_line(error)
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
                    f"{table}: damaged, its size does not match manifest.json; rebuild"
                )
            mapped = [MappedFile(table, OFFSET)]
            offsets = mapped[0].values
            if not _ascend(mapped[0]) or file.stat().st_size != int(offsets[-1]) * dtype.itemsize:
                raise InputError(f"{file}: damaged, its size does not match its offsets; rebuild")
            if in_memory or offsets[-1] == 0:
                check_fits_in_memory(file)
                ids = np.fromfile(file, dtype=dtype)
            else:
                mapped.append(MappedFile(file, dtype))
                ids = mapped[1].values
            return Split(ids, offsets, self.vocabulary, self.manifest.settings.fixed_length, mapped)
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: missing from the corpus; rebuild it") from None


def _ascend(table: MappedFile) -> bool:
    """Whether offsets begin at 0 and none is smaller than the one before it."""
    for begin in range(0, len(table.values), PIECE):
        if (np.diff(table.values[begin : begin + PIECE + 1]) < 0).any():
            return False
        table.release()
    return bool(table.values[0] == 0)


def describe(corpus: Corpus, top: int = 20) -> dict[str, Any]:
    """The content of `textgan corpus show`: counts, lengths, frequent words, overlap of splits."""
    splits = corpus.splits()
    V, longest = len(corpus.vocabulary), max(len(s.length_counts) for s in splits.values())
    occurrences, counts = np.zeros(V, dtype=np.int64), np.zeros(longest, dtype=np.int64)
    for split in splits.values():
        counts[: len(split.length_counts)] += split.length_counts
        for ids, _ in split.pieces():
            occurrences += np.bincount(ids, minlength=V)
    lengths = np.repeat(np.arange(longest, dtype=np.int32), counts)  # of all sentences
    train = corpus.train.sentence_set()
    words = zip(corpus.vocabulary.words, occurrences.tolist(), strict=True)
    return {
        **corpus.manifest.model_dump(mode="json"),
        "length_quantiles": np.quantile(lengths, QUARTILES).tolist() if len(lengths) else [],
        "frequent_words": dict(Counter({word: n for word, n in words if n}).most_common(top)),
        "in_train_too": {
            name: int(train.contains_keys(split.keys()).sum())
            for name, split in splits.items()
            if name != "train"
        },
    }
