"""Files as strangers may send them: whole ones, mutated, given to every reader there is.

A reader answers, or refuses with an InputError or a MachineError. Anything else is a defect.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core import checkpoint
from core.checkpoint import Counters
from core.config import parse, read_toml
from core.errors import InputError, MachineError
from core.players import build_generator
from core.text.build import build_corpus
from core.text.corpus import Corpus, describe
from core.text.generated import draw_corpus
from core.text.readers import READERS
from core.text.settings import CorpusSettings
from core.text.vocabulary import Vocabulary
from core.tracking.delivery import Delivery
from core.tracking.journal import Entry
from experiments.generate import load_generator, save_generator
from studies.definition import load_study
from tests.conftest import SMOKE, tiny
from variants import registry

Read = Callable[[Path], object]
NASTY = [
    b"\0", b"\xff\xfe", b"../../../etc/passwd", b"<script>alert(1)</script>", b"[" * 3000,
    b"{" * 3000, b'"' * 300, b"9" * 400, b"-1", b"1e999", b"NaN", b"null", b"true", b"\r",
    b"\n" * 50, b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\\u0000", b"%\n", b",,,,",
    b"18446744073709551616", b"4294967296", b'{"do": "artifact", "file": "../../x"}',
    b"\xff" * 8, b"\x00" * 8, b"#", b"= =",
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A reader, and a whole example; of a folder, each of its files is mutated in turn."""

    name: str
    example: Path
    read: Read


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to four changes: a byte, a piece gone, doubled, moved, or something nasty put in."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        end = min(len(data), at + rng.choice((1, 2, 8, 64, 4096)))
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end]
        elif kind == 3:
            data[at:end] = rng.choice(NASTY)
        elif kind == 4:
            data[at:at] = rng.choice(NASTY)
        else:
            del data[at:]
    return bytes(data)


def outcome(read: Read, path: Path) -> str | None:
    """None where the reader answers or refuses in words; what went wrong otherwise."""
    try:
        read(path)
    except (InputError, MachineError) as error:
        lines = str(error).count("\n") + 1
        return f"{lines} lines of words" if lines > 4 else None
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return f"{type(error).__name__}: {error}"[:200]
    return None


def targets(folder: Path) -> list[Target]:
    """Every reader and parser, with an example that it reads."""
    made = folder / "examples"
    made.mkdir(parents=True)
    text = "".join(f"the quick brown fox no {i} jumps over it .\n" for i in range(60))
    (made / "lines.txt").write_text(text)
    (made / "fortunes.txt").write_text(text.replace(".\n", ".\n%\n"))
    rows = "".join(f'{i},"a ""b"", c {i}"\n' for i in range(40))
    (made / "table.csv").write_text("id,text\n" + rows)
    (made / "shards").mkdir()
    (made / "shards" / "one").write_text(text)
    (made / "run.toml").write_bytes(SMOKE.read_bytes())
    (made / "study.toml").write_bytes((SMOKE.parent / "card_axes.toml").read_bytes())
    corpus = build_corpus(
        CorpusSettings(sentences=100, difficulty="easy"), made / "corpus", max_words=7,
        generate=draw_corpus,
    )  # fmt: skip
    (made / "vocabulary.txt").write_bytes((made / "corpus" / "vocabulary.txt").read_bytes())
    state = {"weights.x": torch.arange(6.0), "random.noise": torch.ones(4, dtype=torch.uint8)}
    checkpoint.write(made / "c" / "c.safetensors", state, Counters(3, samples=[(0, 1, "a b")]))
    config = tiny("generator.width=8", "generator.hidden=8")
    generator = build_generator(config, registry(), len(corpus.vocabulary))
    save_generator(made / "model", config, generator, corpus.vocabulary)
    (made / "journal").mkdir()
    (made / "journal" / "j.jsonl").write_text(
        '{"format": 2}\n["a", 1.5, 1700000000000, 1]\n["b", NaN, 1700000000000, 1]\n'
        '{"do": "tags", "values": {"a": "b"}}\n{"do": "artifact", "path": "t", "file": "9/t"}\n'
    )
    return [
        Target("configuration", made / "run.toml", lambda p: parse(read_toml(p), registry(), "x")),
        Target("study file", made / "study.toml", lambda p: load_study(p, [], registry())),
        *(
            Target(f"corpus file ({kind})", made / name, _reader(kind))
            for kind, name in (
                ("lines", "lines.txt"),
                ("fortune", "fortunes.txt"),
                ("csv", "table.csv"),
                ("shards", "shards"),
            )
        ),
        Target("corpus folder", made / "corpus", _whole_corpus),
        Target("vocabulary", made / "vocabulary.txt", Vocabulary.load),
        Target("checkpoint", made / "c", lambda p: checkpoint.read(p / "c.safetensors")),
        Target("checkpoint under a right checksum", made / "c", _signed),
        Target("model folder", made / "model", load_generator),
        Target("journal", made / "journal", _journal),
    ]


def _reader(kind: str) -> Read:
    settings = CorpusSettings(source="x")
    return lambda path: list(READERS[kind](path, settings))  # type: ignore[index]


def _whole_corpus(path: Path) -> object:
    corpus = Corpus.open(path)
    for split in corpus.splits().values():
        split.rows(np.arange(len(split)), 64)
    return describe(corpus)


def _signed(path: Path) -> object:
    """Whoever writes a checkpoint can write its checksum too."""
    import hashlib

    file = path / "c.safetensors"
    data = file.read_bytes()[: -checkpoint.DIGEST]
    file.write_bytes(data + hashlib.sha256(data).hexdigest().encode())
    return checkpoint.read(file)


def _journal(path: Path) -> object:
    taken: list[object] = []

    def entry(found: Entry, file: Path | None) -> None:
        assert file is None or (path / "j").resolve() in file.parents
        taken.append(json.dumps(dict(found.content)))

    Delivery(path / "j.jsonl", taken.extend, entry).drain()
    return taken


def attack(target: Target, times: int, seed: int, folder: Path) -> dict[str, int]:
    """What went wrong in `times` mutated files, and how often."""
    rng = random.Random(f"{seed} {target.name}")
    if target.example.is_dir():
        files = sorted(
            p.relative_to(target.example) for p in target.example.rglob("*") if p.is_file()
        )
    else:
        files = [Path()]
    place = folder / "mutant" / target.example.name
    wrong: dict[str, int] = {}
    for _ in range(times):
        if place.parent.exists():
            shutil.rmtree(place.parent)
        place.parent.mkdir(parents=True)
        if target.example.is_dir():
            shutil.copytree(target.example, place)
        chosen = rng.choice(files)
        content = (target.example / chosen).read_bytes()
        (place / chosen).write_bytes(mutate(content, rng))
        fault = outcome(target.read, place)
        if fault is not None:
            wrong[fault] = wrong.get(fault, 0) + 1
    return wrong


def fuzz(folder: Path, times: int, seed: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Every reader in turn, and what went wrong with it."""
    for target in targets(folder):
        yield target.name, attack(target, times, seed, folder)
