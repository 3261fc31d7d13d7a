"""Nothing is let in: mutated files, pickles, ways out, models that say what to import."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config import override, parse, read_toml
from core.errors import InputError, MachineError
from core.files import folder_name
from core.text import recipes
from core.text.corpus import Corpus
from core.text.readers import READERS
from core.text.recipes import tar_members, zip_member
from core.text.recipes import unpack as unpack_source
from core.text.settings import CorpusSettings
from core.text.vocabulary import SPECIALS, Vocabulary
from core.tracking.rendering import plain
from core.training.players import build_generator
from docs.summaries import load as load_summary
from experiments.generate import load_generator, save_generator
from experiments.listing import parse_filter
from studies.ratings import Answer, answers, file_of, keep
from tests.chaos.mutants import (
    NASTY,
    Target,
    attack,
    contents,
    mutants,
    mutate,
    outcome,
    put,
    targets,
)
from tests.chaos.mutants import READERS as EVERY_READER
from tests.conftest import ROOT, SMOKE, tiny
from variants import registry

SHORT = 60  # mutated files of each reader; `make chaos` takes 10,000


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return list(targets(tmp_path_factory.mktemp("hostile")))


def test_mutated_files_are_read_or_refused_in_words(examples: list[Target], tmp_path: Path) -> None:
    wrong = {target.name: attack(target, range(SHORT), 0, tmp_path).wrong for target in examples}
    assert not {name: found for name, found in wrong.items() if found}


def test_whole_files_are_read(examples: list[Target]) -> None:
    for target in examples:
        target.read(target.example)


PLACES, GONE = st.floats(0, 1), st.integers(0, 64)
EDITS = st.lists(
    st.tuples(PLACES, GONE, st.binary(max_size=64) | st.sampled_from(NASTY)), max_size=4
)


@pytest.mark.parametrize("reader", EVERY_READER)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.integers(0, 99), edits=EDITS)
def test_any_edit_of_any_file_is_read_or_refused_in_words(
    examples: list[Target],
    tmp_path: Path,
    reader: str,
    chosen: int,
    edits: list[tuple[float, int, bytes]],
) -> None:
    (target,) = (each for each in examples if each.name == reader)
    whole = contents(target.example)
    name = sorted(whole)[chosen % len(whole)]
    content = whole[name]
    for share, gone, instead in edits:
        at = int(share * len(content))
        content = content[:at] + instead + content[at + gone :]
    place = tmp_path / target.example.parent.name / target.example.name
    put(place, {**whole, name: content})
    assert outcome(target.read, place) is None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.sampled_from(sorted(READERS)))
def test_any_bytes_as_a_corpus_file(tmp_path_factory, content: bytes, kind: str) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("any")
    (folder / "file").write_bytes(content)
    path = folder if kind == "shards" else folder / "file"
    read = READERS[kind]  # type: ignore[index]
    assert outcome(lambda p: list(read(p, CorpusSettings())), path) is None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_override_is_taken_or_refused(key: str, value: str) -> None:
    read = read_toml(SMOKE)
    assert outcome(lambda _: parse(override(read, [f"{key}={value}"]), registry()), SMOKE) is None


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_no_text_is_markup_in_markdown(text: str) -> None:
    shown = plain(text)
    assert "<" not in shown
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[`*\[\]]", shown.replace("\\\\", ""))


WORDS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS, unique=True))
def test_a_vocabulary_reads_back_as_written(tmp_path_factory, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    words = [word for word in words if word not in SPECIALS]
    file = tmp_path_factory.mktemp("v") / "v.txt"
    Vocabulary((*SPECIALS, *words)).save(file)
    assert Vocabulary.load(file).words == (*SPECIALS, *words)


def test_nothing_of_ours_unpickles() -> None:
    modules = r"(pickle|cloudpickle|dill|joblib|shelve|marshal)"
    forbidden = re.compile(
        rf"\bimport {modules}|from {modules}|torch\.load\(|allow_pickle\s*=\s*True"
        r'|yaml\.(load|unsafe_load)\(|\beval\(|\bexec\((?!""\))'
    )
    for package in ("core", "variants", "studies", "experiments"):
        for file in (ROOT / package).rglob("*.py"):
            lines = file.read_text().splitlines()
            found = [line for line in lines if forbidden.search(line) and ".eval()" not in line]
            assert not found, f"{file}: {found}"


@pytest.mark.slow
def test_a_model_folder_imports_nothing_and_makes_nothing_it_has_no_weights_for(
    tmp_path: Path,
) -> None:
    config = tiny("generator.width=8", "generator.hidden=8")
    vocabulary = Vocabulary((*SPECIALS, "a", "b"))
    save_generator(tmp_path / "m", config, build_generator(config, registry(), 6), vocabulary)
    assert load_generator(tmp_path / "m").sample(2)
    tables = json.loads((tmp_path / "m" / "config.json").read_text())
    tables["generator"]["width"] = 8192  # 20 GB of weights, if they were made
    (tmp_path / "m" / "config.json").write_text(json.dumps(tables))
    with pytest.raises(InputError, match="not the weights of the generator"):
        load_generator(tmp_path / "m")
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    entry = {"module": "evil", "function": "load"}
    (tmp_path / "m" / "entry.json").write_text(json.dumps(entry))
    script = (
        "import sys; from types import SimpleNamespace as S; sys.path.insert(0, '.')\n"
        "from core.tracking.served_generator import ServedGenerator\n"
        f"context = S(artifacts={{'folder': {str(tmp_path / 'm')!r}}})\n"
        "ServedGenerator().load_context(context)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "which is not installed here" in done.stderr
    assert "imported" not in done.stderr


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "in/../../evil", "in/.."])
def test_no_member_of_an_archive_leaves_its_folder(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for each in (name, "in/good"):
            info = tarfile.TarInfo(f"in/{each}" if not each.startswith("/") else each)
            info.size = 2
            archive.addfile(info, io.BytesIO(b"ok"))
        link = tarfile.TarInfo("in/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = set(tmp_path.rglob("*"))
    with contextlib.suppress(OSError, tarfile.TarError):
        tar_members("in")([tmp_path / "a.tar"], tmp_path / "out")
    new = set(tmp_path.rglob("*")) - before
    assert all((tmp_path / "out") in (p, *p.parents) for p in new)
    assert not any(p.is_symlink() for p in new)


@pytest.mark.parametrize("identity", ["../../../evil", "a/b", "x" * 300, 7])
def test_no_run_of_a_summary_leaves_its_folder(identity: object, tmp_path: Path) -> None:
    document = json.loads((ROOT / "results" / "first_minute.json").read_text())
    with_samples = next(run for run in document["runs"] if run.get("samples"))
    with_samples["id"] = identity
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="no summary of a study"):
        load_summary(tmp_path / "s.json", tmp_path / "a" / "b" / "world")
    assert not list(tmp_path.rglob("*evil*"))


def test_an_answer_that_a_kill_cut_short_is_none(tmp_path: Path) -> None:
    said = [Answer("s", "better", "me", n, "a", "b", "a\u2028") for n in range(3)]
    keep(tmp_path, said[0])
    with file_of(tmp_path, "s").open("a") as file:
        file.write('{"study": "s", "ki')
    assert answers(tmp_path, "s") == said[:1]
    keep(tmp_path, said[1])
    assert answers(tmp_path, "s") == said[:2]
    with file_of(tmp_path, "s").open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match="line 3: not an answer"):
        answers(tmp_path, "s")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=80))
def test_any_filter_is_taken_or_refused(text: str) -> None:
    columns = ["run_id", "eval/bleu_2", "sampling.name", "seed"]
    row = {"run_id": "x", "eval/bleu_2": 0.5, "sampling.name": None, "seed": 3}

    def look(_: Path) -> list[bool]:
        return [clause.holds(row) for clause in parse_filter(text, columns)]

    assert outcome(look, Path()) is None


@pytest.mark.parametrize("kind", ["gz", "zip", "encrypted"])
def test_an_archive_that_is_none_gets_one_line(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PK\x03\x04 nothing" if kind != "gz" else b"\x1f\x8b nothing")
    if kind == "encrypted":
        with zipfile.ZipFile(tmp_path / "b", "w") as archive:
            archive.writestr("x.csv", "text")
        content = bytearray((tmp_path / "b").read_bytes())
        content[6] |= 1  # the flag, in the file's header and in the directory
        content[content.index(b"PK\x01\x02") + 8] |= 1
        (tmp_path / "a").write_bytes(content)
    make = tar_members("in") if kind == "gz" else zip_member("x.csv")
    with pytest.raises(MachineError, match="cannot be unpacked") as refused:
        unpack_source("corpus", make, [tmp_path / "a"], tmp_path / "made")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


@settings(max_examples=100, deadline=None)
@given(st.text() | st.sampled_from(["..", "../..", "/etc", "a/../../b", ".", "..\\..", "a\0b"]))
def test_no_name_of_a_study_leaves_the_folder_of_reports(name: str) -> None:
    folder = Path("/world/reports")
    place = folder / folder_name(name)
    assert Path(os.path.normpath(place)).parent == folder
    assert "\0" not in str(place)
    assert len(place.name.encode()) <= 255


@pytest.mark.parametrize("name", ["design_axes", "lr 0.1-2", "über", "中文" * 40, "a" * 100])
def test_a_study_of_an_ordinary_name_has_the_folder_of_this_name(name: str) -> None:
    assert folder_name(name) == name


@pytest.mark.parametrize(
    "names",
    [
        ("lr 1/2", "lr 1:2", "lr 1_2", "lr 1?2"),
        ("a" * 100, "a" * 101, "a" * 100 + "b"),
        ("文" * 90, "文" * 91, "文" * 95),
        (".x", "x", "x.", " x ", "..x"),
        ("", ".", "..", "study", " "),
    ],
)
def test_different_studies_have_different_folders(names: tuple[str, ...]) -> None:
    folders = {name: folder_name(name) for name in names}
    assert len(set(folders.values())) == len(names)
    again = {folder_name(folder) for folder in folders.values()} - set(folders.values())
    replaced = {folder for name, folder in folders.items() if folder != name}
    assert len(again) == len(replaced), "a study may be called like another's folder"


def test_what_unpacks_to_more_than_it_may_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "MAX_UNPACKED", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", b"0" * 5000)
    with pytest.raises(OSError, match="unpacks to more than 1,000"):
        zip_member("x.csv")([tmp_path / "a.zip"], tmp_path / "x")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("in/x")
        info.size = 5000
        tar.addfile(info, io.BytesIO(b"0" * 5000))
    with pytest.raises(OSError, match="unpacks to more than 1,000"):
        tar_members("in")([tmp_path / "a.tar.gz"], tmp_path / "y")


def test_a_folder_of_shards_has_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine\n")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a").write_text("text\n")
    (tmp_path / "shards" / "b").symlink_to(tmp_path / "shards" / "a")
    read = READERS["shards"]
    assert list(read(tmp_path / "shards", CorpusSettings())) == ["text", "text"]
    (tmp_path / "shards" / "c").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="leads out of"):
        list(read(tmp_path / "shards", CorpusSettings()))


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.toml"
    with file.open("wb") as out:
        out.truncate(10**12)  # a sparse terabyte
    with pytest.raises(InputError, match="too large for such a file"):
        read_toml(file)
    (tmp_path / "corpus").mkdir()
    file.rename(tmp_path / "corpus" / "manifest.json")
    with pytest.raises(InputError, match="too large for such a file"):
        Corpus.open(tmp_path / "corpus")


def test_a_sparse_terabyte_is_refused_by_every_reader_or_read_a_line_at_a_time(
    examples: list,  # type: ignore[type-arg]
    tmp_path: Path,
) -> None:
    """Any of a folder's files."""
    wrong = {}
    for target in examples:
        if target.name == "checkpoint under a right checksum":
            continue  # whoever signs it reads it
        whole = contents(target.example)
        place = tmp_path / target.example.parent.name / target.example.name
        for name in whole:
            put(place, whole)
            with (place / name).open("r+b") as out:
                out.truncate(10**12)
            fault = outcome(target.read, place)
            if fault is not None:
                wrong[target.name, name] = fault
            (place / name).unlink()
    assert not wrong


def test_offsets_of_a_terabyte_are_not_read_whole(examples: list[Target], tmp_path: Path) -> None:
    (corpus,) = (target.example for target in examples if target.name == "corpus folder")
    shutil.copytree(corpus, tmp_path / "c")
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    manifest["splits"]["train"] = 10**12 // 8 - 1
    (tmp_path / "c" / "manifest.json").write_text(json.dumps(manifest))
    with (tmp_path / "c" / "train.offsets").open("r+b") as out:
        out.truncate(10**12)
    with pytest.raises((InputError, MachineError)):
        Corpus.open(tmp_path / "c")


def test_a_file_that_kills_its_reader_is_counted_once_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "example").write_bytes(bytes(range(200)))
    expected = {"ended": 0, "wrong": 0}

    def read(path: Path) -> None:
        found = zlib.crc32(path.read_bytes()) % 7
        if found == 0:
            os.kill(os.getpid(), 9)
        if found == 1:
            raise ZeroDivisionError

    for number in range(40):
        rng = random.Random(f"{random.Random(5).random()} odd {number}")
        rng.choice(["."])
        found = zlib.crc32(mutate(bytes(range(200)), rng)) % 7
        expected["ended"] += found == 0
        expected["wrong"] += found == 1
    odd = Target("odd", tmp_path / "example", read)
    monkeypatch.setattr("tests.chaos.mutants.targets", lambda _: [odd])
    world = SimpleNamespace(folder=tmp_path, rng=random.Random(5))
    tally = mutants("odd", world, 40, lambda _: None)
    assert min(expected.values()) > 0
    assert (tally.tried, tally.survived) == (40, 40 - sum(expected.values()))
    assert sum("killed its process" in words for words in tally.lost) == expected["ended"]


def test_mutants_differ() -> None:
    rng = random.Random(0)
    assert len({mutate(b"hello world" * 9, rng) for _ in range(50)}) > 40
    assert outcome(lambda _: 1 / 0, Path()) == "ZeroDivisionError: division by zero"
    assert issubclass(MachineError, Exception)
