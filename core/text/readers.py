"""Readers of sources: lines, fortune files, tables, JSON lines, folders; also compressed ones.

Every reader yields one sentence at a time, and keeps at most a line or an entry in memory. A line
ends with LF, CR LF or CR. What cannot be read is an InputError that names file and line. A fortune
entry is split into its sentences: after ., ! or ? if white space and a capital letter or a quote
follow, and after the full stops of scripts that have no capital letters.
Corpora and `textgan evaluate` read by the same rules. Readers of other packages come through the
entry-point group `textgan.readers`: functions of path and `CorpusSettings` that yield texts, whose
names are values of `corpus.reader`. One file because all readers share lines, encodings, columns
and the words of their errors.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import EntryPoint
from itertools import chain, islice
from pathlib import Path
from typing import IO, cast

from core.errors import InputError, first_line
from core.plugins import origin
from core.text.settings import CorpusSettings, Kind, plugin_readers

MAX_LINE = 1_000_000  # bytes; no sentence is longer, and a binary file has no line ends
BLOCK = 65_536  # bytes read at a time, and those that tell the kind of a file
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # the first bytes of a compressed file
WIDE = {  # byte order marks; that of UTF-16 is the beginning of that of UTF-32
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
SEPARATOR = "%"
MOST_IN_ENTRY = 50  # lines per separator; with more lines, a % is a sentence of its own
CAPITALS = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0386-\u03ab\u0400-\u042f\u0531-\u0556"
SENTENCE_END = re.compile(
    rf"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[{CAPITALS}])"
    r"|(?<=[\u0964\u06d4\u061f])\s+"  # Hindi, Urdu, Arabic: no capitals
    r"|(?<=[\u3002\uff01\uff1f])\s*(?![\s\u300d\u300f\u201d])"  # Chinese, Japanese: no spaces
)
SUFFIXES: Mapping[str, Kind] = {
    ".csv": "csv", ".psv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow",
}  # fmt: skip
COLUMNAR: tuple[Kind, ...] = ("parquet", "arrow")
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}  # of the fields of a table
SAMPLE = 50  # lines that tell the separator of a table, and whether it has a header
NAME = re.compile(r"[^\W\d][\w.-]*")  # of a column
Reader = Callable[[Path, CorpusSettings], Iterator[str]]


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file (a byte order mark is skipped), without their ends."""
    number = 0
    for number, raw in enumerate(_raw_lines(path), start=1):
        if len(raw) > MAX_LINE:
            raise InputError(f"{path}:{number}: a line of over {MAX_LINE:,} bytes; is it text?")
        if number == 1 and (encoding := _wide(raw)):
            raise InputError(f"{path}:1: this is {encoding}; {_convert(encoding, path)}")
        if b"\0" in raw:
            raise InputError(f"{path}:{number}: a zero byte; this is a binary file, not text")
        try:
            yield number, raw.removeprefix(codecs.BOM_UTF8).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}:{number}: not UTF-8 (byte 0x{error.object[error.start]:02x}); if it is "
                f"Latin-1, {_convert('CP1252', path)}; otherwise put the name of its encoding in "
                f"place of CP1252, such as GB18030 or SHIFT_JIS"
            ) from None
    if number == 0:
        raise InputError(f"{path}: the file is empty")


def _wide(line: bytes) -> str:
    """The encoding of a first line whose characters have two or four bytes each: by the byte order
    mark, or without one if all letters are ASCII. Empty for any other.
    """
    for encoding, marks in WIDE.items():
        if line.startswith(marks):
            return encoding
    even, odd = line[::2], line[1::2]
    if len(line) > 1 and all(even) and not any(odd):
        return "UTF-16LE"
    return "UTF-16BE" if len(line) > 1 and all(odd) and not any(even) else ""


def _convert(encoding: str, path: Path) -> str:
    return f"convert it: iconv -f {encoding} -t UTF-8 {path.name} > utf8_{path.name}"


def _raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file; a line that is too long is the last, as far as it was read."""
    rest = b""
    with _open(path) as file:
        while (block := _read(path, file)) and len(rest) <= MAX_LINE:
            # The last may go on in the next block, if only by the LF of a CR LF.
            *ended, rest = (rest + block).splitlines(keepends=True)
            yield from (line.rstrip(b"\r\n") for line in ended)
    if rest:
        yield rest.rstrip(b"\r\n")


def read_fortunes(path: Path, settings: CorpusSettings) -> Iterator[str]:
    """Entries between lines with %, without author lines (--), split into sentences."""
    entry: list[str] = []
    start, size = 1, 0
    for number, text in lines(path):
        stripped = text.strip()
        if stripped == SEPARATOR:
            yield from _sentences(entry)
            entry, start, size = [], number + 1, 0
        elif stripped and not stripped.startswith("--"):
            entry.append(stripped)
            size += len(stripped)
            if size > MAX_LINE:
                raise InputError(
                    f"{path}:{start}: an entry of over {MAX_LINE:,} characters; is it a fortune "
                    f"file? corpus.reader = 'lines' takes one sentence a line"
                )
    yield from _sentences(entry)


def read_table(path: Path, settings: CorpusSettings, mark: str | None = None) -> Iterator[str]:
    """One column of a table: `corpus.column`, the only one, or the one named text.

    The separator is recognised, unless `mark` is given. A column given by its number may be without
    a header. A row that does not fit the first one is an InputError.
    """
    texts = (text + "\n" for _, text in lines(path))
    sample, reader = list(islice(texts, SAMPLE)), None
    try:
        mark = mark or _separator(path, sample, settings.column)
        first_rows = _sampled(sample, mark)
        index, has_header = _column(path, first_rows, settings.column)
        width = len(first_rows[0])
        reader = _rows(chain(sample, texts), mark, strict=True)
        for row in islice(filter(None, reader), int(has_header), None):
            place = f"{path}:{reader.line_num}"
            if any(row[width:]):
                raise InputError(
                    f"{place}: {len(row)} fields, but the first row has {width}; put a text that "
                    f"contains a {SEPARATORS[mark]} in quotation marks"
                )
            if len(row) <= index:
                raise InputError(f"{place}: no field {index + 1}; the first row has {width}")
            yield " ".join(_unquoted(row[index], mark).split())
    except csv.Error as error:
        number = reader.line_num if reader is not None else 1
        raise InputError(f"{path}:{number}: not valid CSV: {error}") from None


def read_json_lines(path: Path, settings: CorpusSettings) -> Iterator[str]:
    """One field of the JSON object of each line: `corpus.column`, the only one, or `text`."""
    wanted = settings.column
    for number, line in lines(path):
        if not line.strip():
            continue
        found = _json_object(line)
        if found is None:
            raise InputError(f"{path}:{number}: not a JSON object; each line must be one")
        if wanted is None:
            wanted = next(iter(found)) if len(found) == 1 else "text"
        text = found.get(wanted)
        if not isinstance(text, str):
            raise InputError(
                f"{path}:{number}: no text in a field {wanted!r}; set corpus.column (evaluate: "
                f"--column) to one of {', '.join(list(found)[:20])}"
            )
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"{path}:{number}: not Unicode text (half of a surrogate pair)")
        yield " ".join(text.split())


def read_shards(path: Path, settings: CorpusSettings) -> Iterator[str]:
    """Every file of a folder and its sub-folders, in the order of their paths: as lines, or as a
    table or JSON lines if its name says so. If there are Parquet or Arrow files, no others are
    read: in folders of Hugging Face the others describe these.
    """
    files = shard_files(path)
    files = [file for file in files if SUFFIXES.get(_suffix(file)) in COLUMNAR] or files
    if not files:
        raise InputError(f"{path}: the folder holds no files")
    for file in files:
        yield from ALL[SUFFIXES.get(_suffix(file), "lines")](file, settings)


def _read_arrow(path: Path, settings: CorpusSettings) -> Iterator[str]:
    from core.text.arrow import read_arrow  # pyarrow takes a third of a second

    return read_arrow(path, settings)


def _without_blank(read: Reader, path: Path, settings: CorpusSettings) -> Iterator[str]:
    return filter(str.strip, read(path, settings))


ALL: Mapping[Kind, Reader] = {
    "lines": lambda path, _: (text for _, text in lines(path)),
    "fortune": read_fortunes,
    "csv": read_table,
    "tsv": partial(read_table, mark="\t"),
    "jsonl": read_json_lines,
    "shards": read_shards,
    "parquet": _read_arrow,
    "arrow": _read_arrow,
}
READERS: Mapping[Kind, Reader] = {k: partial(_without_blank, read) for k, read in ALL.items()}


def reader_of(kind: Kind) -> Reader:
    """The reader of a kind of source, ours or that of a plug-in, without blank texts."""
    if kind in READERS:
        return READERS[kind]
    return partial(_without_blank, partial(_read_by_plugin, plugin_readers()[kind]))


def plugin_version(kind: Kind) -> list[str]:
    """The version of the package that reads a kind of source; none of our readers."""
    package = None if kind in READERS else plugin_readers()[kind].dist
    return [package.version] if package else []


def _read_by_plugin(point: EntryPoint, path: Path, settings: CorpusSettings) -> Iterator[str]:
    """The texts that the reader of another package gives; InputError for whatever it raises."""
    try:
        for text in point.load()(path, settings):
            yield " ".join(text.split())
    except InputError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{path}: {origin(point)}, reader {point.name!r}: {why}") from error


def read_texts(path: Path, column: str | None = None) -> Iterator[str]:
    """All texts of a file or folder, blank ones too, as a corpus of it is read."""
    return ALL[_guessed(path)](path, CorpusSettings(source=str(path), column=column))


def kind_of(path: Path, settings: CorpusSettings) -> Kind:
    """The kind of a source, as configured or guessed from its name and content."""
    if not path.exists():
        raise InputError(
            f"corpus.source = {settings.source!r}: no such file or folder "
            f"(or the name of a built-in source: grammar, lstm_oracle)"
        )
    if path.is_dir() != (settings.reader == "shards") and settings.reader in ALL:
        raise InputError(
            f"corpus.reader = {settings.reader!r} does not fit {path}, "
            f"which is a {'folder' if path.is_dir() else 'file'}"
        )
    return _guessed(path) if settings.reader == "auto" else settings.reader


def _guessed(path: Path) -> Kind:
    """The kind of a file or folder, by its name and content."""
    if path.is_dir():
        return "shards"
    if _suffix(path) in SUFFIXES:
        return SUFFIXES[_suffix(path)]
    with _open(path) as file:
        beginning = _read(path, file).decode("utf-8-sig", errors="replace")
    found = [line for line in beginning.splitlines() if line.strip()]
    separators = sum(line.strip() == SEPARATOR for line in found)
    if separators * MOST_IN_ENTRY >= len(found) > 0:
        return "fortune"
    if found and _json_object(found[0]) is not None:
        return "jsonl"
    for mark in SEPARATORS if found else ():
        names = _names(found[0].split(mark))
        if len(names) > 1 and "text" in map(str.lower, names) and all(map(NAME.fullmatch, names)):
            return "tsv" if mark == "\t" else "csv"
    tabs = {line.strip().count("\t") for line in found[:SAMPLE]}
    if len(found) > 1 and len(tabs) == 1 and tabs != {0}:
        raise InputError(
            f"{path}: a table, as all lines have equally many tabs; name the file .tsv, or set "
            f"corpus.reader = 'tsv' ('lines': each line is a sentence)"
        )
    return "lines"


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz").removesuffix(".zst")).suffix


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


def _open(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed if it is gzip or zstd."""
    try:
        with path.open("rb") as file:
            mark = file.read(len(ZSTD))
        if mark == ZSTD:
            from pyarrow import input_stream

            return cast("IO[bytes]", input_stream(str(path), compression="zstd"))
        packed = mark.startswith(GZIP)
        return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _read(path: Path, file: IO[bytes]) -> bytes:
    """The next block of a file; empty at its end."""
    try:
        return file.read(BLOCK)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _sentences(entry: list[str]) -> Iterator[str]:
    text = " ".join(entry).strip()
    if text:
        yield from (part for part in SENTENCE_END.split(text) if part.strip())


def _rows(texts: Iterable[str], mark: str, strict: bool = False):  # type: ignore[no-untyped-def]
    """The rows of a table. Tools that separate by tabs leave quotation marks as they are."""
    if mark == "\t":
        return csv.reader(texts, delimiter=mark, quoting=csv.QUOTE_NONE)
    return csv.reader(texts, delimiter=mark, strict=strict)


def _unquoted(field: str, mark: str) -> str:
    """A field that is quoted as a whole, where `_rows` leaves the marks."""
    quoted = mark == "\t" and len(field) > 1 and field[0] == field[-1] == '"'
    inner = field[1:-1].replace('""', "")
    return field[1:-1].replace('""', '"') if quoted and '"' not in inner else field


def _names(row: Iterable[str]) -> list[str]:
    return [name.strip().strip('"') for name in row]


def _sampled(sample: list[str], mark: str) -> list[list[str]]:
    rows = [row for row in _rows(sample, mark) if row]
    return rows[:-1] if len(sample) == SAMPLE else rows  # the last may go on after the sample


def _separator(path: Path, sample: list[str], wanted: str | None) -> str:
    """The separator of a table; a comma if it has one column. InputError if two are possible."""
    tables = {mark: rows for mark in SEPARATORS if (rows := _sampled(sample, mark))}
    several = [mark for mark, rows in tables.items() if len(rows[0]) > 1]
    fitting = [mark for mark in several if _is_regular(tables[mark], mark)]
    named = [mark for mark in several if (wanted or "text") in _names(tables[mark][0])]
    for found in ([mark for mark in fitting if mark in named], fitting, named, several[:1]):
        if len(found) == 1:
            return found[0]
        if found:
            marks = " or ".join(SEPARATORS[mark] for mark in found)
            raise InputError(f"{path}: the separator is {marks}; name the columns in a first line")
    return ","


def _is_regular(rows: list[list[str]], mark: str) -> bool:
    """Whether all rows have as many fields as the first, and no field has half of a quotation."""
    halves = mark != "\t" and any(field.count('"') % 2 for row in rows for field in row)
    return not halves and {len(row) for row in rows} == {len(rows[0])}


def _column(path: Path, rows: list[list[str]], wanted: str | None) -> tuple[int, bool]:
    """The place of the wanted column, and whether the first row is a header."""
    if not rows:
        raise InputError(f"{path}: the table has no rows")
    names = _names(rows[0])
    if wanted is None:
        by_lower = {name.lower(): index for index, name in enumerate(names)}
        if "text" in by_lower:
            return by_lower["text"], True
        if len(names) == 1:
            return 0, _is_header(rows, 0)
    elif wanted in names:
        return names.index(wanted), True
    elif wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1, _is_header(rows, int(wanted) - 1)
    raise InputError(
        f"{path}: no column {wanted or 'text'!r}; set corpus.column (evaluate: --column) to one of "
        f"{', '.join(name[:30] for name in names[:20])}, or to its number (1 to {len(names)})"
    )


def _is_header(rows: list[list[str]], index: int) -> bool:
    """Whether the first row has a name where most others have more than one word."""
    first, *others = [row[index].strip() for row in rows if len(row) > index]
    named = sum(1 for field in others if NAME.fullmatch(field))
    is_name = NAME.fullmatch(first) is not None
    return first.lower() == "text" or (is_name and 2 * named <= len(others))


def _json_object(line: str) -> Mapping[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
