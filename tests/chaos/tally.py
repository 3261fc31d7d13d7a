"""What faults came to: counted, and kept in a file so that a long form can be run in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """One kind of fault: how often tried, survived, and what was lost."""

    fault: str
    tried: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu: float = 0.0  # seconds, of this process and of those that it waited for
    longest: float = 0.0  # seconds that one thing took: a process, a file, a trial
    code: list[str] = field(default_factory=list)  # fingerprints of what was tried

    def count(self, wrong: list[str], faults: int = 1) -> None:
        """So many faults in one run, and what was wrong with it afterwards."""
        self.tried += faults
        self.survived += 0 if wrong else faults
        self.lost += wrong

    def note(self, what: str, times: int = 1) -> None:
        """How often something was so."""
        self.notes[what] = self.notes.get(what, 0) + times

    def took(self, seconds: float) -> None:
        """How long one thing took."""
        self.longest = max(self.longest, seconds)

    def add(self, other: Tally) -> None:
        """The same fault, tried further."""
        self.tried += other.tried
        self.survived += other.survived
        self.lost += other.lost
        self.seconds += other.seconds
        self.cpu += other.cpu
        self.took(other.longest)
        self.code = sorted({*self.code, *other.code})
        for what, times in other.notes.items():
            self.note(what, times)

    def line(self) -> str:
        """For people."""
        notes = ", ".join(f"{n} {what}" for what, n in sorted(self.notes.items()))
        lost = "; ".join(self.lost[:5]) or "nothing"
        return f"{self.fault}: tried {self.tried}, survived {self.survived}, lost {lost}" + (
            f" ({notes})" if notes else ""
        )

    def cost(self) -> str:
        """What it took, and of which code."""
        return (
            f"in {self.seconds:.0f} s, {self.cpu:.0f} s of CPU, nothing longer than "
            f"{self.longest:.1f} s, code {' '.join(self.code)}"
        )


def total(fault: str, pieces: Iterable[Tally]) -> Tally:
    """One tally of all."""
    whole = Tally(fault)
    for piece in pieces:
        whole.add(piece)
    return whole


class Record:
    """The pieces run so far, one JSON line each with the name of its kind; in memory without a
    path.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.pieces: list[tuple[str, Tally]] = []
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                document = json.loads(line)
                self.pieces.append((document.pop("kind"), Tally(**document)))

    def add(self, kind: str, piece: Tally) -> None:
        """One more piece."""
        self.pieces.append((kind, piece))
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"kind": kind, **asdict(piece)}) + "\n")

    def of(self, kind: str) -> list[Tally]:
        """The pieces of one kind."""
        return [piece for name, piece in self.pieces if name == kind]
