"""Pins, lock and licences agree with what is installed, without a network."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distributions
from itertools import chain
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PINS, LOCK = ROOT / "constraints.txt", ROOT / "constraints.lock"
RERUN = "run: make lock"


def pins() -> dict[str, str]:
    """Pinned version by name, of the packages that this platform needs."""
    found = map(Requirement, PINS.read_text().splitlines())
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for requirement in map(Requirement, chain(project["dependencies"], *extras)):
        pinned = pins().get(canonicalize_name(requirement.name))
        assert pinned, f"{requirement}: not pinned; {RERUN}"
        assert requirement.specifier.contains(pinned, prereleases=True), f"{requirement}; {RERUN}"


def test_what_is_installed_has_the_pinned_version() -> None:
    pinned = pins()
    # Not sys.path: a process that has imported setuptools finds the packages inside it there too.
    here = distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    installed = {canonicalize_name(each.name): each.version for each in here}
    wrong = {
        name: (version, pinned[name])
        for name, version in installed.items()
        if name in pinned and version.partition("+")[0] != pinned[name]
    }
    assert not wrong
    assert {"torch", "mlflow", "optuna", "psycopg-binary", "ray"} <= installed.keys()


def test_what_our_packages_require_is_pinned() -> None:
    pinned = pins()
    for package in distributions():
        if canonicalize_name(package.name) not in pinned:
            continue
        for requirement in map(Requirement, package.requires or []):
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                name = canonicalize_name(requirement.name)
                assert name in {*pinned, "pip"}, f"{package.name} needs {name}; {RERUN}"


def test_every_pin_is_locked_with_hashes() -> None:
    entries = LOCK.read_text().replace("\\\n", " ").splitlines()
    lines = PINS.read_text().splitlines()
    assert [entry.partition("--hash")[0].split() for entry in entries] == [
        line.split() for line in lines
    ], RERUN
    hashes = [re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", entry) for entry in entries]
    assert all(hashes), RERUN
    torch = next(n for n, line in enumerate(lines) if line.startswith("torch=="))
    assert len(hashes[torch]) > 3, "a file for each platform"


def test_the_licences_list_every_installed_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "piplicenses", "--with-system", "--format=markdown"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines()[2:]]
    listed = {canonicalize_name(name.strip()): licence.strip() for name, _, licence in rows}
    assert {"torch", "mlflow", "optuna", "psycopg-binary", "ray"} <= listed.keys()
    assert listed["textgan-lab"] == "MIT"


@pytest.mark.slow
def test_the_bill_of_materials_is_valid_and_names_the_requirements() -> None:
    """As XML, which is validated in a second; the addresses in JSON take half a minute."""
    pytest.importorskip("cyclonedx_py", reason="`make sbom` installs cyclonedx-bom")
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml",
         "--output-format", "XML"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    components = ElementTree.fromstring(done.stdout).iterfind(".//{*}component")
    names = {component.findtext("{*}name") for component in components}
    assert {"torch", "mlflow", "optuna"} <= names
