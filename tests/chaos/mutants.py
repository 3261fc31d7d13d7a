"""Files as strangers may send them: whole ones, mutated, given to every reader there is.

A reader answers, or refuses with an InputError or a MachineError. Anything else is a defect. The
files of a batch are read in one process, which says at which file it is: one that crashes or hangs
there is seen, counted, and followed by another that goes on behind that file.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import random
import resource
import shutil
import signal
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from core.config import parse, read_toml
from core.errors import InputError, MachineError
from core.metrics.files import read_sentences
from core.text.build import build_corpus
from core.text.corpus import Corpus, describe
from core.text.readers import READERS as CORPUS_READERS
from core.text.recipes import Make, linked_texts, tar_members, unpack, zip_member
from core.text.settings import CorpusSettings
from core.text.vocabulary import Vocabulary
from core.tracking.delivery import Delivery
from core.tracking.journal import Entry
from core.training import checkpoint
from core.training.checkpoint import Counters
from core.training.players import build_generator
from docs.summaries import load as load_summary
from experiments.generate import load_generator, save_generator
from studies.definition import load_study
from studies.ratings import Answer, agreement, answers, file_of, keep
from tests.chaos.children import child
from tests.chaos.tally import Tally
from tests.conftest import ROOT, SMOKE, tiny
from variants import registry

Read = Callable[[Path], object]
HANG_SECONDS = 60
WATCHDOG_SECONDS = 75  # without a word, for what does not hear an alarm
MEMORY = 2 << 30  # bytes, beyond what the process has
SUMMARY = ROOT / "results" / "feedback.json"
NASTY = [
    b"\0", b"\xff\xfe", b"../../../etc/passwd", b"<script>alert(1)</script>", b"[" * 3000,
    b"{" * 3000, b'"' * 300, b"9" * 400, b"-1", b"1e999", b"NaN", b"null", b"true", b"\r",
    b"\n" * 50, b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\\u0000", b"%\n", b",,,,",
    b"18446744073709551616", b"4294967296", b'{"do": "artifact", "file": "../../x"}',
    b"\xff" * 8, b"\x00" * 8, b"#", b"= =",
]  # fmt: skip


READERS = ("configuration", "study file", "corpus file (lines)", "corpus file (fortune)",
           "corpus file (csv)", "corpus file (shards)", "corpus file (parquet)",
           "corpus file (arrow)", "corpus folder", "vocabulary", "checkpoint",
           "checkpoint under a right checksum", "model folder", "journal", "sentences",
           "archive (tar)", "archive (zip)", "web page", "study summary", "ratings")  # fmt: skip


@dataclass
class Found:
    """What mutated files came to: faults and how often, and what the slowest file took."""

    wrong: dict[str, int] = field(default_factory=dict)
    longest: float = 0.0  # seconds


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


class Hung(BaseException):
    """A reader that does not come to an end."""


def _hang(*_: object) -> None:
    raise Hung


def outcome(read: Read, path: Path) -> str | None:
    """None where the reader answers or refuses in words; what went wrong otherwise."""
    signal.signal(signal.SIGALRM, _hang)
    signal.alarm(HANG_SECONDS)
    try:
        read(path)
    except Hung:
        return f"hung over {HANG_SECONDS} s"
    except (InputError, MachineError) as error:
        lines = str(error).count("\n") + 1
        return f"{lines} lines of words" if lines > 4 else None
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.alarm(0)
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
    columns = pa.table({"id": range(60), "text": text.splitlines()})
    pq.write_table(columns, made / "table.parquet")
    with pa.ipc.new_stream(made / "table.arrow", columns.schema) as stream:
        stream.write_table(columns)
    _strangers(made, text)
    _small_summary(made / "summary.json")
    (made / "shards").mkdir()
    (made / "shards" / "one").write_text(text)
    (made / "run.toml").write_bytes(SMOKE.read_bytes())
    (made / "study.toml").write_bytes((SMOKE.parent / "design_axes.toml").read_bytes())
    corpus = build_corpus(
        CorpusSettings(sentences=100, difficulty="easy"), made / "corpus", max_words=7,
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
                ("parquet", "table.parquet"),
                ("arrow", "table.arrow"),
            )
        ),
        Target("corpus folder", made / "corpus", _whole_corpus),
        Target("vocabulary", made / "vocabulary.txt", Vocabulary.load),
        Target("checkpoint", made / "c", lambda p: checkpoint.read(p / "c.safetensors")),
        Target("checkpoint under a right checksum", made / "c", _signed),
        Target("model folder", made / "model", load_generator),
        Target("journal", made / "journal", _journal),
        Target("sentences", made / "lines.txt", read_sentences),
        Target("archive (tar)", made / "a.tar.gz", _unpacked(tar_members("in"))),
        Target("archive (zip)", made / "a.zip", _unpacked(zip_member("x.csv"))),
        Target("web page", made / "page.html", _unpacked(linked_texts("/q/"))),
        Target("study summary", made / "summary.json", _summary),
        Target("ratings", file_of(made, "s"), _ratings),
    ]


def _strangers(made: Path, text: str) -> None:
    """Archives, a page, and what raters said."""
    with tarfile.open(made / "a.tar.gz", "w:gz") as tar:
        for name in ("one", "two"):
            info = tarfile.TarInfo(f"a/in/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    with zipfile.ZipFile(made / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/x.csv", text)
    links = "".join(f'<li><a href="/q/{i}">words &amp; <b>more</b> {i}</a>' for i in range(30))
    (made / "page.html").write_text(f"<!doctype html><ul>{links}</ul>")
    for number in range(20):
        keep(made, Answer("s", "better", f"r{number % 3}", number, "a", "b", "a"))


def _small_summary(file: Path) -> None:
    """A study's summary cut to two variants of two seeds, so that a change hits what is read."""
    document = json.loads(SUMMARY.read_text(encoding="utf-8"))
    of_level: dict[str, list[Any]] = {"study": [], "variant": [], "seed": []}
    for run in document["runs"]:
        of_level[run["tags"]["level"]].append(run)
        kept = [key for key in run["metrics"] if key.startswith("eval/ms_jaccard")]
        run["metrics"] = {key: run["metrics"][key] for key in kept[:2]}
    variants = of_level["variant"][:2]
    parents = [run["id"] for run in variants]
    seeds = [r for r in of_level["seed"] if r["parent"] in parents and r["tags"]["seed"] in "01"]
    for run in seeds:
        if "samples" in run:
            run["samples"]["data"] = run["samples"]["data"][:2]
    document["runs"] = [*of_level["study"], *variants, *seeds]
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _unpacked(make: Make) -> Read:
    """As `corpus fetch` makes a source of what it fetched."""

    def read(path: Path) -> object:
        result = path.parent / "made"
        unpack("x", make, [path], result)
        size = sum(p.stat().st_size for p in (result, *result.rglob("*")) if p.is_file())
        shutil.rmtree(result) if result.is_dir() else result.unlink()
        return size

    return read


def _summary(path: Path) -> object:
    with tempfile.TemporaryDirectory() as world:
        return load_summary(path, Path(world))


def _ratings(path: Path) -> object:
    """All that a report makes of them."""
    found = answers(path.parent.parent, "s")
    return agreement(found)


def _reader(kind: str) -> Read:
    settings = CorpusSettings(source="x")
    return lambda path: list(CORPUS_READERS[kind](path, settings))  # type: ignore[index]


def _whole_corpus(path: Path) -> object:
    corpus = Corpus.open(path)
    for split in corpus.splits().values():
        split.rows(np.arange(len(split)), 64)
    return describe(corpus)


def _signed(path: Path) -> object:
    """Whoever writes a checkpoint can write its checksum too."""
    file = path / "c.safetensors"
    data = file.read_bytes()[: -checkpoint.DIGEST]
    file.write_bytes(data + hashlib.sha256(data).hexdigest().encode())
    return checkpoint.read(file)


def _journal(path: Path) -> object:
    taken: list[object] = []

    def entry(found: Entry, file: Path | None) -> None:
        assert file is None or (path / "j").resolve() in file.parents
        taken.append(json.dumps(dict(found.content)))

    receiver = SimpleNamespace(points=taken.extend, entry=entry)
    Delivery(path / "j.jsonl", receiver).drain()
    return taken


def attack(
    target: Target,
    numbers: Iterable[int],
    seed: int | str,
    folder: Path,
    say: Callable[[int], None] = id,
) -> Found:
    """What the mutated files of these numbers came to; `say` hears which one is next."""
    place = folder / "mutants" / target.example.parent.name / target.example.name
    whole = contents(target.example)
    names = sorted(whole)
    found = Found()
    for number in numbers:
        say(number)
        rng = random.Random(f"{seed} {target.name} {number}")
        chosen = rng.choice(names)
        put(place, {**whole, chosen: mutate(whole[chosen], rng)})
        began = time.monotonic()
        fault = outcome(target.read, place)
        found.longest = max(found.longest, time.monotonic() - began)
        if fault is not None:
            found.wrong[fault] = found.wrong.get(fault, 0) + 1
    return found


def contents(example: Path) -> dict[str, bytes]:
    """Every file by its path below the example; "." for an example that is a file itself."""
    files = [p for p in example.rglob("*") if p.is_file()] if example.is_dir() else [example]
    return {str(file.relative_to(example)): file.read_bytes() for file in files}


def put(place: Path, contents: dict[str, bytes]) -> None:
    """Have exactly these files at `place`; those that are as they should be are left alone."""
    if place.is_dir():
        for file in [p for p in place.rglob("*") if not p.is_dir() or p.is_symlink()]:
            if str(file.relative_to(place)) not in contents:
                file.unlink()
    for name, content in contents.items():
        file = place / name
        if not file.exists() or file.stat().st_size != len(content) or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def mutants(reader: str, world: Any, times: int, say: Callable[[Tally], None]) -> Tally:
    """Mutated files for one reader: answered, or refused in words."""
    tally = Tally(f"mutated files, {reader}")
    folder = world.folder / f"strangers-{time.monotonic_ns()}"
    folder.mkdir()
    seed, at = world.rng.random(), folder / "at"
    waiting = [range(times)]
    while waiting:
        numbers = waiting.pop()
        batch = partial(_batch, reader, numbers, seed, folder / f"{numbers.start}-{numbers.stop}")
        ended = child(partial(batch, at), world.folder, beat=at, patience=WATCHDOG_SECONDS)
        if ended.answer is None:
            fatal = int(at.read_text())
            how = "hung" if ended.hung else ended.words or "killed its process"
            tally.count([f"file {fatal}: {how}"])
            parts = range(numbers.start, fatal), range(fatal + 1, numbers.stop)
            waiting += [part for part in parts if part]
            continue
        wrong, longest = ended.answer
        tally.took(longest)
        tally.count([], len(numbers) - sum(wrong.values()))
        for what, count in wrong.items():
            tally.count([f"{count} times {what}"], count)
    shutil.rmtree(folder)
    say(tally)
    return tally


def _batch(reader: str, numbers: range, seed: float, folder: Path, at: Path) -> list[Any]:
    """Faults, how often each, and seconds of the slowest file."""
    logging.getLogger("core.tracking.delivery").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    (target,) = (each for each in targets(folder) if each.name == reader)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY  # no reader may take more than a small machine
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with at.open("w", buffering=1) as file:

        def say(number: int) -> None:
            file.seek(0)
            file.write(f"{number}\n")

        found = attack(target, numbers, seed, folder, say)
    return [found.wrong, found.longest]
