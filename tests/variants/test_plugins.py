"""Strategies from other packages: the worked example, and what is said of a broken one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from core.config import parse
from core.errors import InputError
from tests.conftest import ROOT, tiny
from variants import Registry, registry

EXAMPLE = ROOT / "docs" / "example_plugin"
FOLDER = ROOT / "variants"
SMALL = ["train.updates=3", "train.batch_size=4", "evaluation.every=3", "evaluation.sentences=20",
         "evaluation.references=20", "corpus.sentences=300"]  # fmt: skip


def plugin(slot: str, name: str, value: str) -> Registry:
    point = EntryPoint(f"{slot}.{name}", value, "textgan.variants")
    return Registry(FOLDER, {(slot, name): point})


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


def python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )


def test_the_example_is_listed_checked_and_trains(site: Path, tmp_path: Path) -> None:
    cli = ("-m", "experiments")
    listed = python(site, *cli, "variants", "temperature", "--json", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    rows = {row["name"]: row for row in json.loads(listed.stdout)["temperature"]}
    assert rows["cosine"]["summary"] == "Slow at first, fast in the middle, slow at the end."
    checked = python(site, *cli, "variants", "check", "temperature.cosine", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "temperature.cosine: passes" in checked.stdout
    settings = ["temperature.name=cosine", "temperature.low=0.2", *SMALL]
    sets = [part for setting in settings for part in ("--set", setting)]
    smoke = str(ROOT / "experiments" / "smoke" / "run.toml")
    ran = python(site, *cli, "run", smoke, "--json", *sets, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["updates"] == 3
    assert result["outcome"] in ("ok", "collapsed")


def test_the_examples_own_test_passes(site: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    done = python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


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
