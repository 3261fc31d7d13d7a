"""Quality against diversity over temperature, for one trained generator.

At each temperature the same number of sentences is drawn with the same seed; quality is BLEU-4
against held-out references, diversity one less Self-BLEU-4, both of the same sentences (a curve
that takes them at different temperatures is no curve of one model: Caccia et al. 2020). What the
temperature does depends on the generator and is said beside it: an explicit one (its sampling has a
likelihood) has its logits divided by it, an implicit one its noise multiplied by it.

`area` is the part of the unit square that some point of the sweep dominates in both: one number for
the whole curve, higher is better, 0 to 1. It depends on the number of sentences and references, as
its two metrics do, and grows with the range swept: compare equal ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.metrics.suite import Suite
from experiments.generate import Writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
QUALITY, SAMENESS = "bleu_4", "self_bleu_4"
COLOURS = {"real": "#d55e00", "ngram": "#8a94a0", "mle": "#009e73"}
MARKS = {"real": "D", "ngram": "^", "mle": "s"}
NAMES = {"real": "real text", "ngram": "n-gram model", "mle": "MLE"}
Interval = tuple[float, float] | None
Text = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Point:
    """Quality and diversity of one sample, each with its interval."""

    temperature: float | None  # None: a baseline
    quality: float
    diversity: float
    quality_interval: Interval
    diversity_interval: Interval
    sentences: int


@dataclass(frozen=True)
class Sweep:
    """The points of a generator, those of the baselines, and the area."""

    swept: str
    points: tuple[Point, ...]
    baselines: Mapping[str, Point]
    area: float
    references: int
    notes: tuple[str, ...] = ()  # on baselines, those that could not be had among them

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def what_is_swept(writer: Writer) -> str:
    """In words, what the temperature acts on."""
    explicit = "likelihood" in getattr(writer.drawing.sampling, "offers", ())
    return "softmax temperature" if explicit else "scale of the noise"


def sweep(
    writer: Writer,
    suite: Suite,
    temperatures: Sequence[float],
    count: int,
    seed: int,
    baselines: Mapping[str, Callable[[], Text]],
    step: Callable[[float], None] = lambda done: None,
) -> Sweep:
    """Draw and score `count` sentences at each temperature, then the baselines, which write as
    they are asked.
    """
    points = []
    for number, temperature in enumerate(temperatures):
        step(number)
        points.append(_point(suite, writer.tokens(count, temperature, seed, "sweep"), temperature))
    found, notes = {}, []
    for name, write in baselines.items():
        try:
            found[name] = _point(suite, write(), None)
        except InputError as error:
            notes.append(f"no {name} row: {error}")
    shape = [(point.diversity, point.quality) for point in points]
    return Sweep(
        what_is_swept(writer),
        tuple(points),
        found,
        area(shape),
        len(suite.references),
        tuple(notes),
    )


def area(points: Sequence[tuple[float, float]]) -> float:
    """Area of the union of the rectangles between (0, 0) and each point."""
    total, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        if y > height:
            total += x * (y - height)
            height = y
    return total


def sweep_figure(sweeps: Mapping[str, Sweep]) -> Figure:
    """Curves in the plane of diversity and quality, baselines as points."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.2, 4.4), layout="constrained")
    axis = drawing.subplots()
    colours = ("#0072b2", "#cc79a7", "#e69f00", "#56b4e9")
    for (name, found), colour in zip(sweeps.items(), colours * len(sweeps), strict=False):
        _curve(axis, name, found, colour)
    drawn: set[str] = set()
    for found in sweeps.values():
        for side, point in found.baselines.items():
            if side not in drawn:
                drawn.add(side)
                axis.plot(point.diversity, point.quality, MARKS[side], color=COLOURS[side], ms=8,
                          label=NAMES[side])  # fmt: skip
    axis.set_xlabel("1 - Self-BLEU-4 (more diverse to the right)")
    axis.set_ylabel("BLEU-4 (closer to real text upwards)")
    swept = sorted({found.swept for found in sweeps.values()})
    axis.set_title(f"swept: {', '.join(swept)}; bars: 95% intervals", fontsize=10)
    axis.margins(0.1)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    # Below the axes: points may lie anywhere in them.
    drawing.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return drawing


def _curve(axis: Axes, name: str, found: Sweep, colour: str) -> None:
    x = [point.diversity for point in found.points]
    y = [point.quality for point in found.points]
    axis.plot(x, y, "o-", color=colour, ms=4, lw=1.4, label=f"{name}, area {found.area:.3f}")
    for point in found.points:
        if point.quality_interval is not None:
            axis.plot([point.diversity] * 2, point.quality_interval, color=colour, lw=1)
        if point.diversity_interval is not None:
            axis.plot(point.diversity_interval, [point.quality] * 2, color=colour, lw=1)
    for point in (found.points[0], found.points[-1]):
        axis.annotate(f"{point.temperature:g}", (point.diversity, point.quality), (5, 5),
                      textcoords="offset points", color=colour, fontsize=8)  # fmt: skip


def _point(suite: Suite, sentences: Sequence[Sequence[str]], temperature: float | None) -> Point:
    found = suite.measures(sentences, ("bleu", "self_bleu"))
    quality, sameness = found[QUALITY], found[SAMENESS]
    repeated = sameness.interval()
    return Point(
        temperature,
        quality.value or 0.0,
        1 - (sameness.value if sameness.value is not None else 1.0),
        quality.interval(),
        (1 - repeated[1], 1 - repeated[0]) if repeated else None,
        len(sentences),
    )
