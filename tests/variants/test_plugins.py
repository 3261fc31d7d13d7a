"""Strategies from other packages: the worked example, and what is said of a broken one."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import variants
import variants.penalty
from core.config import parse
from core.errors import InputError
from core.metrics import plugins
from core.metrics.catalogue import CATALOGUE, GROUPS
from core.tracking.memory import MemoryTracker
from experiments.single_run.run import run
from tests.conftest import ROOT, tiny
from tests.experiments.test_cli import textgan
from variants import Registry, registry

EXAMPLE = ROOT / "docs" / "example_plugin"
FOLDER = ROOT / "variants"


def plugin(slot: str, name: str, value: str) -> Registry:
    point = EntryPoint(f"{slot}.{name}", value, "textgan.variants")
    return Registry(FOLDER, {(slot, name): point})


def test_a_file_in_a_folder_that_is_no_slot_is_named(tmp_path: Path) -> None:
    for folder, name in (("samplings", "mine"), ("penalty", "ours"), ("laboratory", "exact")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").touch()
        (tmp_path / folder / "__init__.py").touch()
    found = Registry(tmp_path, {})
    said = f"{tmp_path}/samplings/mine.py is ignored: 'samplings' is no slot"
    assert found.lost == [f"{said}; did you mean 'sampling'?"]
    with pytest.raises(InputError, match=r"no sampling 'mine'; .*samplings/mine\.py is ign"):
        found.strategy("sampling", "mine")
    assert registry().lost == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import torch\n\nx = 1 / 0\n", "odd.py:3: cannot be imported: ZeroDivisionError"),
        ("import torch\n\ndef f(:\n", "odd.py:3: cannot be imported: SyntaxError: invalid syntax"),
        ("import nothing_like_it\n", "odd.py:1: cannot be imported: ModuleNotFoundError"),
        ("x = 1\n", "odd.py: must define one public Strategy, not 0"),
    ],
)
def test_a_strategy_that_cannot_be_imported_is_told_where(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "variants"
    (folder / "penalty").mkdir(parents=True)
    (folder / "penalty" / "odd.py").write_text(source)
    monkeypatch.setattr(variants, "__file__", str(folder / "__init__.py"))
    monkeypatch.setattr(variants.penalty, "__path__", [str(folder / "penalty")])
    monkeypatch.delitem(sys.modules, "variants.penalty.odd", raising=False)
    with pytest.raises(InputError, match=re.escape(said)):
        Registry(folder, {}).strategy("penalty", "odd")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built and installed into a folder of its own."""
    here = tmp_path_factory.mktemp("plugin")
    source, target = here / "source", here / "site"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--target", str(target)]
    done = subprocess.run([*pip, *offline, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example is on the path of this process, and its registry knows it."""
    monkeypatch.syspath_prepend(str(site))
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.mark.usefixtures("_installed")
def test_the_example_is_listed_checked_and_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = textgan("variants", "temperature", "--json", capsys=capsys)
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["temperature"]}
    assert rows["cosine"]["summary"] == "From `high` to `low` along half a cosine."
    code, out, err = textgan("variants", "check", "temperature.cosine", capsys=capsys)
    assert code == 0, err
    assert "temperature.cosine: passes" in out
    config = tiny("temperature.name=cosine", "temperature.low=0.2")
    result = run(config, tracker=MemoryTracker(tmp_path))
    assert result.updates == 4
    assert result.outcome in ("ok", "collapsed")


@pytest.mark.usefixtures("_installed")
def test_the_examples_own_tests_pass() -> None:
    files = sorted((EXAMPLE / "tests").glob("test_*.py"))
    tests = [test for file in files for test in runpy.run_path(str(file)).items()]
    own = [test for name, test in tests if name.startswith("test_")]
    assert len(own) == 6
    for test in own:
        test()


@pytest.mark.usefixtures("_installed")
def test_the_examples_metric_is_listed_checked_and_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in (CATALOGUE, GROUPS, plugins.PLUGINS):  # to be taken out again
        monkeypatch.setitem(known, "word_coverage", None)  # type: ignore[arg-type]
    del plugins.PLUGINS["word_coverage"], CATALOGUE["word_coverage"], GROUPS["word_coverage"]
    code, out, err = textgan("metrics", "--json", capsys=capsys)
    assert code == 0, err
    assert "word_coverage" in {row["name"] for row in json.loads(out)}
    code, out, err = textgan("metrics", "check", "word_coverage", capsys=capsys)
    assert (code, out.strip()) == (0, "word_coverage: passes"), err
    code, _, err = textgan("metrics", "check", "word_cover", capsys=capsys)
    assert code == 2
    assert "did you mean 'word_coverage'?" in err
    file = tmp_path / "text.txt"
    file.write_text("a b\nc\n")
    code, out, err = textgan("evaluate", str(file), "--references", str(file), "--metrics",
                             "length,word_coverage", "--json", capsys=capsys)  # fmt: skip
    assert code == 0, err
    row = json.loads(out)["metrics"]["word_coverage"]
    assert (row["value"], row["direction"], row["reason"]) == (1.0, "higher", None)
    assert row["signature"].startswith("word_coverage|v:1|n:2|refs:2:")


@pytest.mark.usefixtures("_installed")
def test_the_examples_reader_reads_a_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "film.srt", tmp_path / "built"
    cues = [f"{n}\n0:01 --> 0:02\nwe went to\nhouse {chr(97 + n)}\n" for n in range(26)]
    file.write_text("\n".join(cues))
    arguments = ["corpus", "build", str(file), "--output", str(folder), "--set"]
    shares = ["--set", "corpus.validation=0.3", "--set", "corpus.test=0.3"]
    code, _, err = textgan(*arguments, "corpus.reader=subtitles", *shares, capsys=capsys)
    assert code == 0, err
    code, out, _ = textgan("corpus", "show", str(folder), "--json", capsys=capsys)
    found = json.loads(out)
    assert (found["kind"], found["read"], found["frequent_words"]["house"] > 0) == (
        "subtitles", 26, True
    )  # fmt: skip
    file.write_text("a\nb\n")
    again = [*arguments[:4], str(tmp_path / "other"), "--set", "corpus.reader=subtitles"]
    code, _, err = textgan(*again, capsys=capsys)
    assert (code, "film.srt:2: no times of a subtitle" in " ".join(err.split())) == (2, True)
    code, _, err = textgan(*again[:-1], "corpus.reader=subtitle", capsys=capsys)
    assert code == 2
    assert "arrow, shards or that of a plug-in (subtitles)" in " ".join(err.split())


def test_a_plugin_takes_part_like_any_other() -> None:
    """Another class under a name of its own: found, listed, configured."""
    found = plugin("penalty", "nothing", "tests.variants.plugin_penalty:Nothing")
    assert "nothing" in found.names("penalty")
    config = parse({**tiny().tables(), "penalty": {"name": "nothing"}}, found)
    assert config.penalty is not None
    assert config.penalty.name == "nothing"


def test_a_name_that_the_harness_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"has a penalty.none of its own"):
        plugin("penalty", "none", "somewhere:Thing")


def test_a_plugin_that_cannot_be_loaded_breaks_nobody_else() -> None:
    broken = plugin("penalty", "lost", "nowhere_at_all:Thing")
    assert broken.strategy("penalty", "none") is registry().strategy("penalty", "none")
    with pytest.raises(InputError, match=r"nowhere_at_all:Thing cannot be loaded: ModuleNotFound"):
        broken.strategy("penalty", "lost")
    with pytest.raises(InputError, match="must be a class"):
        plugin("penalty", "pi", "math:pi").strategy("penalty", "pi")
