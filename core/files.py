"""Files: reading untrusted ones within limits, checksums, and writing whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import InputError, MachineError

LONGEST_NAME = 100  # characters of a study's name in the name of its folder
LONGEST_FOLDER = 240  # bytes; file systems take 255, and a hash may follow


def read_bounded(path: Path, max_bytes: int) -> str:
    """The text of a UTF-8 file of at most `max_bytes` bytes, without a byte order mark; InputError
    for any other.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason})") from None
    if len(content) > max_bytes:
        raise InputError(f"{path}: more than {max_bytes:,} bytes, too large for such a file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None


def check_fits_in_memory(path: Path) -> None:
    """MachineError for a file that is to be read whole and is larger than the memory.

    A sparse file of a few bytes on disk can claim a size of a terabyte.
    """
    size, memory = path.stat().st_size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise MachineError(
            f"{path}: {size / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB of memory"
        )


def size_of(place: Path) -> int:
    """Bytes of a file, or of the files below a folder; one that is removed meanwhile has none."""
    if place.is_file():
        return place.stat().st_size
    size = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - thousands
    return size


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 of the bytes of files, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def write_atomically(file: Path, content: str | bytes) -> None:
    """Write a file that no reader ever sees incomplete, while other processes may write it too."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.writing")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(file)


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A temporary folder next to `output`, renamed to it on success and removed otherwise.
    InputError if `output` appears meanwhile, MachineError where it cannot be written.
    """
    folder = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        yield folder
        folder.chmod(0o755)
        try:
            folder.replace(output)
        except OSError:
            if output.exists():
                raise InputError(f"{output}: another process made it in the meantime") from None
            raise
    except OSError as error:
        at = error.filename
        if folder is not None and at is not None and not Path(at).is_relative_to(folder.parent):
            raise MachineError(f"{at}: {error.strerror}") from None
        raise MachineError(f"{output}: cannot be written ({error.strerror})") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def safe_name(name: str) -> str:
    """What the name of a file or folder can have of a name."""
    safe = re.sub(r"[^\w .-]", "_", name)[:LONGEST_NAME]
    return safe.encode()[:LONGEST_FOLDER].decode(errors="ignore").strip(". ")


def folder_name(study: str) -> str:
    """The name of the folder of a study's report, different for every study: the study's own name
    where a folder can have it, else what a folder can have of it and a hash (`lr 1_2~2205729d`).
    """
    safe = safe_name(study)
    short = hashlib.sha256(study.encode(errors="surrogatepass")).hexdigest()[:8]
    return study if study and safe == study else f"{safe}~{short}"  # no study keeps a "~" in `safe`
