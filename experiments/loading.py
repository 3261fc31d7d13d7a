"""From a name or a file to a checked configuration, and from its settings to a corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from core.config import Config, blame, override, parse, read_toml
from core.config.renamed import current_tables
from core.errors import InputError, nearest
from core.text.build import prepare_corpus
from core.text.corpus import Corpus
from core.text.oracles import fit_length
from core.text.settings import CorpusSettings
from variants import registry

SYSTEMS = Path(__file__).parent / "systems"


def systems() -> dict[str, Path]:
    """Name to file of every system that comes with the harness."""
    return {file.stem: file for file in sorted(SYSTEMS.glob("*.toml"))}


def resolve_file(text: str) -> Path:
    """A path as typed, or the file of a system of that name."""
    if text.endswith(".toml") or "/" in text:
        return Path(text)
    known = systems()
    if text not in known:
        raise InputError(f"no system {text!r}{nearest(text, known)} (or give a .toml file)")
    return known[text]


def load(source: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a system's name or a TOML file, with `a.b=value` overrides."""
    path = resolve_file(source)
    read = {"name": path.stem, **current_tables(read_toml(path), str(path))}
    if "study" in read:
        raise InputError(f"{path}: this is a study; run it with: textgan study {source}")
    with blame(str(path), overrides):
        return parse(override(read, overrides), registry(), str(path))


def open_corpus(
    settings: CorpusSettings,
    store_dir: Path,
    length: int,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """The corpus of a run, built in the store's folder unless it is there already. `progress` hears
    how many sentences a build has kept so far.
    """
    return prepare_corpus(
        fit_length(settings, length),
        store_dir / "corpora",
        max_words=length - 1,
        progress=progress,
    )
