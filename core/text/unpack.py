"""How what was downloaded becomes one source: a text file, a CSV or a folder of shards."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

from core.text.bounded import insist_on_room

MOST = 20_000_000_000  # bytes that an archive may unpack to
# What Python's readers of archives raise for one that is damaged, encrypted or of another kind.
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, OverflowError, KeyError, struct.error,
           zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)  # fmt: skip
Make = Callable[[Sequence[Path], Path], None]  # downloaded files, the source to make


def joined(files: Sequence[Path], result: Path) -> None:
    """Text files one behind another, each ended by a newline."""
    with result.open("wb") as out:
        for file in files:
            with file.open("rb") as stream:
                last = b"\n"
                while block := stream.read(1 << 20):
                    out.write(block)
                    last = block[-1:]
            if last != b"\n":
                out.write(b"\n")


def tar_members(within: str) -> Make:
    """The files below a folder of a tar archive, as a folder of shards; nothing else is unpacked.

    Links, devices and paths that lead out of the folder are refused (tarfile's `data` filter).
    """

    def make(files: Sequence[Path], result: Path) -> None:
        result.mkdir()
        left = MOST
        with tarfile.open(files[0]) as archive:
            for member in archive:
                if member.isfile() and within in member.name.split("/"):
                    left -= member.size
                    if left < 0:
                        raise OSError(f"it unpacks to more than {MOST:,} bytes")
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
            left = MOST  # whatever the archive says of the size
            with archive.open(found[0]) as stream, result.open("wb") as out:
                while block := stream.read(1 << 20):
                    left -= out.write(block)
                    if left < 0:
                        raise OSError(f"it unpacks to more than {MOST:,} bytes")

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
            insist_on_room(file)
            page = _Links(part)
            page.feed(file.read_text(encoding="utf-8", errors="replace"))
            found |= {" ".join(text.split()): None for text in page.texts if text.strip()}
        if not found:
            raise OSError(f"the pages have no links to {part}")
        result.write_text("".join(f"{text}\n" for text in found), encoding="utf-8")

    return make
