"""What textgan-lab stands on: `make sbom` writes CycloneDX, `make licences` docs/licences.md.

Read from pyproject.toml and from what is installed, so it needs no network: every package that ours
requires, directly or through another, with its version and the licence that it states itself.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

OURS = "textgan-lab"
EXTRAS = ("cluster",)  # what users install; tools of development stay on developers' machines
PAGE = Path(__file__).with_name("licences.md")
LONGEST = 60


def required(
    name: str = OURS, extras: frozenset[str] = frozenset(), seen: set[tuple[str, str]] | None = None
) -> Iterator[Distribution]:
    """Every package that `name` with these extras needs, itself left out, each once."""
    seen = set() if seen is None else seen
    for text in _ours() if name == OURS else distribution(name).requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        fresh = {(key, extra) for extra in {"", *requirement.extras}} - seen
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        if (key, "") in fresh:
            yield found
        seen |= fresh
        if fresh:
            yield from required(requirement.name, frozenset(extra for _, extra in fresh), seen)


def _ours() -> list[str]:
    """What pyproject.toml asks for; what is installed of ours may be an older one's."""
    project = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(text for name in EXTRAS for text in extras[name])]


def licence(package: Distribution) -> str:
    """The licence that a package states: its expression, its classifiers, or its own words."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    named = [c.split(" :: ")[-1] for c in classifiers if c.count("::") > 1]
    if named:
        return "; ".join(named)
    words = (about.get("License") or "").strip().splitlines()
    return words[0][:LONGEST] if words and words[0] else "not stated"


def sbom() -> str:
    """CycloneDX 1.5, JSON."""
    packages = sorted(required(), key=lambda p: p.name.lower())
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": OURS,
                "version": distribution(OURS).version,
            }
        },
        "components": [
            {
                "type": "library",
                "name": package.name,
                "version": package.version,
                "purl": f"pkg:pypi/{package.name.lower()}@{package.version}",
                "licenses": [{"license": {"name": licence(package)}}],
            }
            for package in packages
        ],
    }
    return json.dumps(document, indent=2)


def page() -> str:
    """The licences as a table."""
    packages = sorted(required(), key=lambda p: p.name.lower())
    rows = [f"| {p.name} | {p.version} | {licence(p).replace('|', '/')} |" for p in packages]
    return "\n".join(
        [
            "# Licences",
            "",
            f"textgan-lab is MIT. What it needs to run, {len(rows)} packages with the versions of "
            "`constraints.txt`, and the licence that each states; `make licences` writes this "
            "page, `make sbom` the same as CycloneDX.",
            "",
            "| package | version | licence |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--licences"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(sbom() + "\n")
