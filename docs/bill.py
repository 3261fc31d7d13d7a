"""What textgan-lab stands on: `make sbom` writes CycloneDX, `make licences` docs/licences.md.

Read from what is installed, so it needs no network: every package that ours requires, directly or
through another, with its version and the licence that it states itself.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

OURS = "textgan-lab"
EXTRAS = ("", "cluster")  # what users install; tools of development stay on developers' machines
PAGE = Path(__file__).with_name("licences.md")
LONGEST = 60


def required(name: str = OURS, seen: set[str] | None = None) -> Iterator[Distribution]:
    """Every package that `name` needs, itself left out, each once."""
    seen = {name} if seen is None else seen
    for text in distribution(name).requires or []:
        requirement = Requirement(text)
        extras = EXTRAS if name == OURS else ("", *requirement.extras)
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        yield found
        yield from required(requirement.name, seen)


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
