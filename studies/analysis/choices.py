"""What each choice of an ablation does: contrasts of the values of an axis, all else equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from studies.analysis.wording import chance, contrast, count, number
from studies.effects import LEVEL, Effect, effects, pairing
from studies.figures import effects_figure
from studies.sections import Reading, Section
from studies.table import Contrast


def choices(reading: Reading) -> list[Section]:
    """The contrasts as one section; none where nothing can be told."""
    return contrast_section(reading, reading.table.contrasts, "effects", "What each choice does")


def contrast_section(
    reading: Reading, named: Sequence[Contrast], key: str, title: str
) -> list[Section]:
    """Contrasts, the named ones first, as one section; none where nothing can be told."""
    found = effects(reading.board, named)
    if not found:
        return []
    correlation, paired = pairing(reading.board)
    return [
        Section(
            key,
            title,
            how_to_read(found, correlation, paired),
            ("contrast", "difference", "95% interval", "pairs", "p", "p, Holm"),
            [_row(effect) for effect in found],
            {key: lambda: effects_figure(reading.board, found)},
            {
                "effects": [asdict(effect) for effect in found],
                "seed_correlation": correlation,
                "paired": paired,
            },
            _findings(found, higher_is_better=reading.board.higher_is_better),
        )
    ]


def how_to_read(found: list[Effect], correlation: float, paired: bool) -> str:
    """What the rows are, and what they cannot show."""
    seeds = (
        f"Variants that share a seed correlate by {correlation:.2f}, so runs of one seed are "
        "compared with each other."
        if paired
        else f"The correlation over shared seeds ({correlation:.2f}) cannot be told from none, so "
        "seeds are treated as unpaired."
    )
    named = sum(effect.named for effect in found)
    families = (
        f"The first {named} were named in the study's file before the run and are adjusted among "
        "themselves; the others are exploratory and adjusted among themselves."
        if 0 < named < len(found)
        else "All were named before the run."
        if named
        else "None was named before the run: all are exploratory."
    )
    how = (
        "from a linear model of the main effects, since no two cells differ in one choice only; "
        "with Student's 95% interval"
        if any(effect.modelled for effect in found)
        else "the mean over the cells of the other axes, with its 95% interval (bootstrap over "
        "seeds within cells)"
    )
    rows = "Difference of the score of two rows, with its 95% interval (bootstrap over seeds)."
    choices_ = f"Difference of the score between two choices, all else equal: {how}."
    what = choices_ if any(effect.axis for effect in found) else rows
    return (
        f"{what} *p* is two-sided and "
        "of the same computation as the interval: below .05 where the interval leaves zero out. "
        "Few seeds cannot resolve small chances, so it has a floor that falls with their number. "
        f"*p, Holm* is adjusted for the number of contrasts, which the intervals are not. {seeds} "
        f"{families} An interval that holds zero does not show that there is no difference, only "
        "that these runs cannot tell."
    )


def _row(effect: Effect) -> list[str]:
    if effect.pairs == 1:  # nothing is known of chance
        return [effect.title, f"{effect.difference:+.4f}", "one pair", "1", "", ""]
    return [
        effect.title,
        f"{effect.difference:+.4f}",
        f"{effect.low:+.4f} to {effect.high:+.4f}",
        str(effect.pairs),
        chance(effect.p),
        chance(effect.adjusted),
    ]


def _telling_first(found: list[Effect]) -> list[Effect]:
    """What was named before the run, then what is clear of zero, largest first, then the rest."""
    return sorted(found, key=lambda e: (not e.named, not e.clear, -abs(e.difference) * e.clear))


def _findings(found: list[Effect], *, higher_is_better: bool) -> list[str]:
    said = []
    for effect in _telling_first(found):
        words = contrast(*effect.values, effect.difference, effect.low, effect.high,
                         effect.pairs, higher_is_better=higher_is_better,
                         unit="pair" if effect.paired else "pair of runs")  # fmt: skip
        if effect.clear and effect.adjusted > LEVEL:
            family = count(sum(each.named == effect.named for each in found), "contrast")
            p = number(effect.adjusted)
            words += f" It does not survive Holm's adjustment for {family} (p {p})."
        said.append(f"**{effect.axis}**: {words}" if effect.axis else words)
    return said
