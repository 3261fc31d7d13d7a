"""The supply chain, without a network: everything needed is pinned, and its licence is listed."""

from __future__ import annotations

import importlib.util
import json
import re

from tests.conftest import ROOT

BUNDLED = re.compile(r"nvidia-|cuda-|triton")  # what a build of torch for GPUs brings along
specification = importlib.util.spec_from_file_location("bill", ROOT / "docs" / "bill.py")
assert specification is not None
assert specification.loader is not None
bill = importlib.util.module_from_spec(specification)
specification.loader.exec_module(bill)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_is_pinned_at_the_version_installed() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {plain(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    wrong = {
        package.name: (package.version, pins.get(plain(package.name)))
        for package in bill.required()
        if not BUNDLED.match(package.name)
        and package.version.split("+")[0] != pins.get(plain(package.name))
    }
    assert not wrong


def test_the_page_of_licences_lists_every_package() -> None:
    page = (ROOT / "docs" / "licences.md").read_text()
    listed = {plain(line.split(" | ")[0].strip("| ")) for line in page.splitlines() if "|" in line}
    needed = {plain(p.name) for p in bill.required() if not BUNDLED.match(p.name)}
    assert needed <= listed, "run: make licences"
    assert needed > {"torch", "mlflow", "optuna"}
    assert needed > {"psycopg-binary", "ray"}, "of extras, and of the extras of what they name"


def test_the_bill_is_one_document_of_components() -> None:
    document = json.loads(bill.sbom())
    assert document["bomFormat"] == "CycloneDX"
    names = [component["name"] for component in document["components"]]
    assert len(names) == len(set(names)) > 50
