"""Readers of sources: lines, fortune files, a column of a CSV, a folder of shards.

Every reader yields (line number, text), one sentence at a time, and keeps at most a line or an
entry in memory. Text that is not UTF-8 is an InputError that names file and line. A fortune entry
is split into its sentences: after ., ! or ? if white space and a capital letter or a quote follow.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from core.errors import InputError
from core.text.settings import CorpusSettings, Kind

MAX_LINE = 1_000_000  # bytes; no sentence is longer, and a binary file has no line ends
SEPARATOR = "%"
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z])")
Reader = Callable[[Path, CorpusSettings], Iterator[tuple[int, str]]]


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file (a byte order mark is skipped), without their ends."""
    decoder = codecs.getincrementaldecoder("utf-8")
    with _open(path) as file:
        number = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            if len(raw) > MAX_LINE:
                raise InputError(f"{path}:{number}: a line of over {MAX_LINE:,} bytes; is it text?")
            if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError(f"{path}:1: this is UTF-16; convert the file to UTF-8 first")
            if b"\0" in raw:
                raise InputError(f"{path}:{number}: a zero byte; this is a binary file, not text")
            try:
                text = decoder().decode(raw.removeprefix(codecs.BOM_UTF8), final=True)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}:{number}: not UTF-8 (byte 0x{raw[error.start]:02x}); if it is a text "
                    f"file, convert it to UTF-8 first"
                ) from None
            yield number, text.rstrip("\r\n")
        if number == 0:
            raise InputError(f"{path}: the file is empty")


def read_lines(path: Path, settings: CorpusSettings) -> Iterator[tuple[int, str]]:
    """One sentence a line; blank lines are skipped."""
    for number, text in lines(path):
        if text.strip():
            yield number, text


def read_fortunes(path: Path, settings: CorpusSettings) -> Iterator[tuple[int, str]]:
    """Entries between lines with %, without author lines (--), split into sentences."""
    entry: list[str] = []
    start, size = 1, 0
    for number, text in lines(path):
        stripped = text.strip()
        if stripped == SEPARATOR:
            yield from ((start, sentence) for sentence in _sentences(entry))
            entry, start, size = [], number + 1, 0
        elif stripped and not stripped.startswith("--"):
            entry.append(stripped)
            size += len(stripped)
            if size > MAX_LINE:
                raise InputError(
                    f"{path}:{start}: an entry of over {MAX_LINE:,} characters; is it a fortune "
                    f"file? corpus.reader = 'lines' takes one sentence a line"
                )
    yield from ((start, sentence) for sentence in _sentences(entry))


def read_csv(path: Path, settings: CorpusSettings) -> Iterator[tuple[int, str]]:
    """One column of a CSV with a header: `corpus.column`, the only one, or the one named text."""
    numbered = lines(path)
    reader = csv.reader((text + "\n" for _, text in numbered), strict=True)
    try:
        header = next(reader)
        index = _column(path, header, settings.column)
        for row in reader:
            if len(row) > index and row[index].strip():
                yield reader.line_num, " ".join(row[index].split())
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None
    except StopIteration:
        raise InputError(f"{path}: the CSV has no header") from None


def read_shards(path: Path, settings: CorpusSettings) -> Iterator[tuple[int, str]]:
    """Every file of a folder and its sub-folders as lines, in the order of their paths."""
    files = shard_files(path)
    if not files:
        raise InputError(f"{path}: the folder holds no files")
    for file in files:
        yield from read_lines(file, settings)


READERS: Mapping[Kind, Reader] = {
    "lines": read_lines,
    "fortune": read_fortunes,
    "csv": read_csv,
    "shards": read_shards,
}


def kind_of(path: Path, settings: CorpusSettings) -> Kind:
    """The kind of a source, as configured or guessed from its name and content."""
    if not path.exists():
        raise InputError(
            f"corpus.source = {settings.source!r}: no such file or folder "
            f"(or the name of a built-in source: grammar, lstm_oracle)"
        )
    if path.is_dir() != (settings.reader == "shards") and settings.reader != "auto":
        raise InputError(
            f"corpus.reader = {settings.reader!r} does not fit {path}, "
            f"which is a {'folder' if path.is_dir() else 'file'}"
        )
    if settings.reader != "auto":
        return settings.reader
    if path.is_dir():
        return "shards"
    if path.suffix.lower() == ".csv":
        return "csv"
    with _open(path) as file:
        beginning = file.read(65_536).decode("utf-8", errors="replace")
    separated = any(line.strip() == SEPARATOR for line in beginning.splitlines())
    return "fortune" if separated else "lines"


def shard_files(path: Path) -> list[Path]:
    """The files below a folder in the order of their paths, without hidden ones.

    A link that leads out of the folder is an InputError: an untrusted folder must not make a model
    learn other files of this machine.
    """
    inside = path.resolve()
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    )
    for file in found:
        if file.is_symlink() and inside not in file.resolve().parents:
            raise InputError(f"{file}: a link that leads out of {path}")
    return found


def _open(path: Path):  # type: ignore[no-untyped-def]
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _sentences(entry: list[str]) -> Iterator[str]:
    text = " ".join(entry).strip()
    if text:
        yield from (part for part in SENTENCE_END.split(text) if part.strip())


def _column(path: Path, header: list[str], wanted: str | None) -> int:
    names = [name.strip() for name in header]
    if wanted is None:
        wanted = names[0] if len(names) == 1 else "text"
        by_lower = {name.lower(): index for index, name in enumerate(names)}
        if wanted.lower() in by_lower:
            return by_lower[wanted.lower()]
    elif wanted in names:
        return names.index(wanted)
    raise InputError(
        f"{path}: no column {wanted!r}; set corpus.column to one of {', '.join(names[:20])}"
    )
