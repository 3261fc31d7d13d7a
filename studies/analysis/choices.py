"""What each choice of an ablation does: contrasts of the values of an axis, all else equal."""

from __future__ import annotations

from dataclasses import asdict

from studies.effects import effects
from studies.figures import effects_figure
from studies.sections import Reading, Section

READING = (
    "Difference of the score between two values of an axis, all else equal: over the pairs of runs "
    "that share seed and every other choice, with its 95% bootstrap interval; p is two-sided and "
    "adjusted over all rows here (Holm). An interval that holds zero does not show that there is "
    "no difference, only that these runs cannot tell."
)


def choices(reading: Reading) -> list[Section]:
    """The contrasts as one section; none where nothing pairs."""
    found = effects(reading.board)
    if not found:
        return []
    rows = [
        [effect.axis, f"{effect.level} - {effect.reference}", f"{effect.difference:+.4f}",
         f"{effect.low:+.4f} to {effect.high:+.4f}", str(effect.pairs), f"{effect.p:.3f}"]
        for effect in found
    ]  # fmt: skip
    return [
        Section(
            "effects",
            "What each choice does",
            READING,
            ("axis", "contrast", "difference", "95% interval", "pairs", "p"),
            rows,
            {"effects": lambda: effects_figure(reading.board, found)},
            {"effects": [asdict(effect) for effect in found]},
        )
    ]
