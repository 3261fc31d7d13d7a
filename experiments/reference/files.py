"""The systems and studies that come with the harness, as their files' headers describe them."""

from __future__ import annotations

from pathlib import Path

from experiments.loading import SYSTEMS, systems

STUDIES = SYSTEMS.parent / "studies"
INTRODUCTION = """# Systems and studies

A file's header says what it reproduces, what deviates, the command, what to expect and what it
costs.
"""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION, "## Systems"]
    parts += [_entry(file) for file in systems().values()]
    parts += ["## Studies", *(_entry(file) for file in sorted(STUDIES.glob("*.toml")))]
    return "\n\n".join(parts) + "\n"


def _entry(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    header = text.splitlines()
    end = next((n for n, line in enumerate(header) if not line.startswith("#")), len(header))
    said = "\n".join(line.removeprefix("#").removeprefix(" ") for line in header[:end])
    body = "\n".join(header[end:]).strip()
    whole = f'??? note "{file.name}"\n\n' + _indented(f"```toml\n{body}\n```")
    return f"### {file.stem}\n\n```text\n{said}\n```\n\n{whole}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
