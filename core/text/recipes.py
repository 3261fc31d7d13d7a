"""Recipes of known corpora, which are listed in recipes.toml.

A recipe names the files to download and makes one source of them (a text file, a CSV or a folder of
shards). `origin.json` next to it records what was fetched, when, and the checksums: without a known
checksum, later fetches must match the first.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import struct
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from core.errors import InputError, MachineError
from core.files import check_fits_in_memory, sha256_of
from core.text.download import Progress, download

MAX_UNPACKED = 20_000_000_000  # bytes that an archive may unpack to
# What Python's archive readers raise for a file that is damaged, encrypted or of another kind.
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, OverflowError, KeyError, struct.error,
           zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)  # fmt: skip
Make = Callable[[Sequence[Path], Path], None]  # downloaded files, the source to make


@dataclass(frozen=True)
class Recipe:
    """One corpus."""

    summary: str
    licence: str
    addresses: tuple[str, ...]
    result: str  # name of the source made: NAME.txt, NAME.csv or a folder
    make: Make
    limit: int  # bytes of one download
    reader: str  # how `corpus build` reads the result
    sha256: str | None = None  # of the download, if known and the only one


@dataclass(frozen=True)
class Fetched:
    """The result of a fetch."""

    source: Path
    checked: bool  # whether every file had a known checksum


def fetch(name: str, recipe: Recipe, folder: Path, progress: Progress) -> Fetched:
    """Make `folder/recipe.result` and `folder/origin.json`, unless they exist."""
    source, record = folder / recipe.result, folder / "origin.json"
    known = _recorded(record)
    if source.exists() and known:
        return Fetched(source, checked=True)
    files, sums, checked = [], {}, True
    for index, address in enumerate(recipe.addresses):
        file = folder / "downloads" / f"{index:03d}"
        expected = recipe.sha256 or known.get(address)
        checked &= expected is not None
        if not (file.exists() and expected in (None, sha256_of([file]))):
            download(address, file, limit=recipe.limit, sha256=expected, progress=progress)
        files.append(file)
        sums[address] = sha256_of([file])
    unfinished = folder / f".{recipe.result}"
    unpack(name, recipe.make, files, unfinished)
    origin = {
        "name": name,
        "licence": recipe.licence,
        "reader": recipe.reader,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": sums,
    }
    record.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(source)
    shutil.rmtree(folder / "downloads")
    return Fetched(source, checked)


def unpack(name: str, make: Make, files: Sequence[Path], result: Path) -> None:
    """Make the source from the downloaded files; MachineError, and no source, if one is damaged."""
    _remove(result)
    try:
        make(files, result)
    except DAMAGED as error:
        _remove(result)
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise MachineError(f"{name}: the download cannot be unpacked ({why})") from None


def _recorded(record: Path) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: not readable ({error}); remove its folder") from None
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def joined(files: Sequence[Path], result: Path) -> None:
    """Text files concatenated, each ended by a newline."""
    with result.open("wb") as out:
        for file in files:
            with file.open("rb") as stream:
                shutil.copyfileobj(stream, out)
                if stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    out.write(b"" if stream.read() == b"\n" else b"\n")


def tar_members(within: str) -> Make:
    """The files below a folder of a tar archive, as a folder of shards; nothing else is unpacked.

    Links, devices and paths that lead out of the folder are refused (tarfile's `data` filter).
    """

    def make(files: Sequence[Path], result: Path) -> None:
        result.mkdir()
        left = MAX_UNPACKED
        with tarfile.open(files[0]) as archive:
            for member in archive:
                if member.isfile() and within in member.name.split("/"):
                    left -= member.size
                    if left < 0:
                        raise OSError(f"it unpacks to more than {MAX_UNPACKED:,} bytes")
                    member.name = Path(member.name).name
                    archive.extract(member, result, filter="data")
        if not any(result.iterdir()):
            raise OSError(f"the archive has no files below {within}/")

    return make


def zip_member(name: str) -> Make:
    """One file of a zip archive."""

    def make(files: Sequence[Path], result: Path) -> None:
        with zipfile.ZipFile(files[0]) as archive:
            found = [each for each in archive.namelist() if Path(each).name == name]
            if not found:
                raise OSError(f"the archive has no {name}")
            left = MAX_UNPACKED  # whatever the archive says of the size
            with archive.open(found[0]) as stream, result.open("wb") as out:
                while block := stream.read(1 << 20):
                    left -= out.write(block)
                    if left < 0:
                        raise OSError(f"it unpacks to more than {MAX_UNPACKED:,} bytes")

    return make


class _Links(HTMLParser):
    """Texts of the links whose address has a part."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part, self.texts = part, list[str]()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and self.part in (dict(attrs).get("href") or ""):
            self._inside = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[-1] += data


def linked_texts(part: str) -> Make:
    """The texts of all links of HTML pages that lead to an address with `part`, one a line."""

    def make(files: Sequence[Path], result: Path) -> None:
        found: dict[str, None] = {}
        for file in files:
            check_fits_in_memory(file)
            page = _Links(part)
            page.feed(file.read_text(encoding="utf-8", errors="replace"))
            found |= {" ".join(text.split()): None for text in page.texts if text.strip()}
        if not found:
            raise OSError(f"the pages have no links to {part}")
        result.write_text("".join(f"{text}\n" for text in found), encoding="utf-8")

    return make


MAKERS: Mapping[str, Callable[[str], Make]] = {
    "joined": lambda _: joined,
    "tar_members": tar_members,
    "zip_member": zip_member,
    "linked_texts": linked_texts,
}


def _recipe(table: dict[str, Any]) -> Recipe:
    """A recipe from its table in recipes.toml."""
    make = MAKERS[table.pop("make")](table.pop("argument", ""))
    address, parts = table.pop("address"), table.pop("parts", [""])
    addresses = tuple(address.format(part=part) for part in parts)
    return Recipe(make=make, addresses=addresses, **table)


TABLES = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))
RECIPES: Mapping[str, Recipe] = {name: _recipe(table) for name, table in TABLES.items()}
