"""Quality against diversity, which shows a variant that trades one for the other: the plane of a
study, and sweeps of temperature.

Caccia et al. 2020 ("Language GANs Falling Short"): one number alone is not enough. A generator that
repeats one good sentence has quality, and one that draws tokens at random has diversity.

`area` is the part of the unit square that some point of a sweep dominates in both metrics: one
number for the whole curve, higher is better, 0 to 1. It depends on the number of sentences and
references, as its two metrics do, and grows with the swept range: compare equal ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.plural import count
from core.statistics import means
from core.tracking.protocol import RunRecord
from studies.figures import AMBER, BLUE, GREEN, GREY, ORANGE, PAPER, PINK, SKY, Ends, canvas, panels
from studies.sections import Reading, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUALITY = (("valid", "valid sentences"), ("bleu_4", "BLEU-4"), ("bleu_2", "BLEU-2"))
DIVERSITY = ("self_bleu_4", "self_bleu_2")
TRACE = 0.005
NEAR = 0.06  # share of the plane's span: closer numbers are merged into one label
Place = tuple[float, float]  # diversity, quality
SEED = " · seed "  # separates a run's variant from its seed
CURVES = (BLUE, PINK, AMBER, SKY)
MARKS = {
    "real": ("real text", "D", ORANGE),
    "unigram": ("unigram model", "v", GREY),
    "bigram": ("bigram model", "^", GREY),
    "trigram": ("trigram model", "D", GREY),
    "ngram": ("n-gram model", "^", GREY),
    "mle": ("MLE", "s", GREEN),
}


def plane(reading: Reading) -> Iterator[Section]:
    """The plane; none if the runs do not have such metrics."""
    split = reading.board.metric.partition("/")[0]
    quality = next(((k, label) for k, label in QUALITY if _informs(reading, f"{split}/{k}")), None)
    known = {name for run in reading.seeds for name in run.metrics}
    diversity = next((key for key in DIVERSITY if f"{split}/{key}" in known), None)
    if quality is None or diversity is None:
        return
    runs = {run.run_id: run for run in reading.seeds}
    points = {
        row.variant: [p for run in row.seed_runs.values()
                      if (p := _point(runs[run], split, diversity, quality[0])) is not None]
        for row in reading.board.rows
    }  # fmt: skip
    real = [p for run in runs.values() if (p := _point(run, "real", diversity, quality[0]))]
    likelihood = {run.variant for run in runs.values() if run.params.get("schedule.name") == "mle"}
    yield Section(
        "plane",
        figures={
            "quality_diversity": lambda: _figure(points, real, likelihood, quality[1], diversity)
        },
    )


def _informs(reading: Reading, name: str) -> bool:
    """Whether half of the runs have more than a trace of it; otherwise it separates few runs."""
    more = sum(run.metrics.get(name, 0) > TRACE for run in reading.seeds)
    return 2 * more >= len(reading.seeds)


def _point(run: RunRecord, where: str, diversity: str, quality: str) -> Place | None:
    x, y = run.metrics.get(f"{where}/{diversity}"), run.metrics.get(f"{where}/{quality}")
    return None if x is None or y is None else (1 - x, y)


def _figure(
    points: Mapping[str, Sequence[Place]],
    real: Sequence[Place],
    likelihood: set[str],
    quality: str,
    diversity: str,
) -> Figure:
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=2.5, foreground=PAPER)
    drawing, axis = canvas(6.6, 4.8)
    for variant, found in points.items():
        if found:
            _variant(axis, found, variant, "D" if variant in likelihood else "o")
    if real:
        x, y = np.mean(real, axis=0)
        axis.plot(x, y, "P", color=ORANGE, ms=10, mew=0, label="real text")
        axis.annotate("real text", (x, y), (0, 9), textcoords="offset points", color=ORANGE,
                      ha="center", fontsize=9)  # fmt: skip
    axis.margins(0.1)
    for (x, y), label in _numbers(points, axis).items():
        axis.annotate(label, (x, y), (0, -6), textcoords="offset points", color=BLUE, ha="center",
                      va="top", fontsize=8.5, path_effects=[halo])  # fmt: skip
    axis.set_xlabel(f"diversity: 1 - Self-BLEU-{diversity[-1]}")
    axis.set_ylabel(f"quality: {quality}")
    return drawing


def _variant(axis: Axes, found: Sequence[Place], variant: str, mark: str) -> None:
    xs, ys = zip(*found, strict=True)
    axis.plot(xs, ys, "o", color=GREY, ms=3.5, mew=0, alpha=0.8, label=f"{variant}, runs")
    x, y = np.mean(found, axis=0)
    axis.plot(x, y, mark, color=BLUE, ms=8, mew=0, label=f"{variant}, mean")


def _numbers(points: Mapping[str, Sequence[Place]], axis: Axes) -> dict[Place, str]:
    """Where to write which ranks: neighbours share a label."""
    span = np.array([np.ptp(axis.get_xlim()), np.ptp(axis.get_ylim())])
    groups: list[tuple[list[int], list[np.ndarray]]] = []  # ranks and means
    for rank, found in enumerate(points.values(), start=1):
        if not found:
            continue
        place = np.mean(found, axis=0)
        near = (each for each in groups if np.all(np.abs(each[1][0] - place) < NEAR * span))
        if (group := next(near, None)) is None:
            groups.append(group := ([], []))
        group[0].append(rank)
        group[1].append(place)
    return {
        (float(places[0][0]), float(min(y for _, y in places))): ranks(members)
        for members, places in groups
    }


def ranks(found: Sequence[int]) -> str:
    """`3`, `3, 5`, `7-12`."""
    parts: list[str] = []
    for _, group in itertools.groupby(enumerate(found), key=lambda pair: pair[1] - pair[0]):
        run = [rank for _, rank in group]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(parts)


@dataclass(frozen=True)
class Point:
    """Quality and diversity of one sample, each with its interval."""

    temperature: float | None  # None: a baseline
    quality: float
    diversity: float
    quality_interval: Ends
    diversity_interval: Ends
    sentences: int
    bound: float | None = None  # `jsd_bound` in bits, if it was asked for
    bound_interval: Ends = None


@dataclass(frozen=True)
class Sweep:
    """The points of a generator, those of the baselines, and the area."""

    swept: str
    points: tuple[Point, ...]
    baselines: Mapping[str, Point]
    area: float
    references: int
    notes: tuple[str, ...] = ()  # on baselines, including those that are not available

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


Sweeps = Mapping[str, Sweep]  # run -> its sweep
Height = Callable[[Point], tuple[float | None, Ends]]  # of a point in a panel, with its interval


def area(points: Sequence[tuple[float, float]]) -> float:
    """Area of the union of the rectangles between (0, 0) and each point."""
    total, height = 0.0, 0.0
    for x, y in sorted(points, reverse=True):
        if y > height:
            total += x * (y - height)
            height = y
    return total


def by_variant(sweeps: Sweeps) -> dict[str, list[Sweep]]:
    """The sweeps of each variant's runs."""
    found: dict[str, list[Sweep]] = {}
    for run, one in sweeps.items():
        found.setdefault(run.partition(SEED)[0], []).append(one)
    return found


def sweep_figure(sweeps: Sweeps) -> Figure:
    """Curves in the plane of diversity and quality, one colour per variant; baselines as points.
    With bounds also a panel of these, where upwards is nearer to real text as well.
    """
    judged = any(point.bound is not None for one in sweeps.values() for point in one.points)
    drawing, axes = panels(1, 1 + judged, 1 + judged, (10.4 if judged else 5.6, 4.8))
    _curves(axes[0], sweeps, lambda point: (point.quality, point.quality_interval))
    baselines = {name: point for one in sweeps.values() for name, point in one.baselines.items()}
    for name, point in baselines.items():
        label, mark, colour = MARKS[name]
        axes[0].plot(point.diversity, point.quality, mark, color=colour, ms=8, label=label)
    axes[0].set_ylabel("BLEU-4 (closer to real text upwards)")
    swept = sorted({found.swept for found in sweeps.values()})
    axes[0].set_title(f"swept: {', '.join(swept)}; bars: 95% intervals; thin: runs", fontsize=10)
    if judged:
        _curves(axes[1], sweeps, lambda point: (point.bound, point.bound_interval))
        axes[1].axhline(0, color=ORANGE, lw=1)
        axes[1].invert_yaxis()
        axes[1].set_ylabel("jsd_bound in bits (closer to real text upwards)")
        axes[1].set_title("line: real text, 0", fontsize=10)
    for axis in axes:
        axis.set_xlabel("1 - Self-BLEU-4 (more diverse to the right)")
        axis.margins(0.1)
    # Below the axes, since points can be anywhere in them.
    lines = axes[0].get_legend_handles_labels()
    drawing.legend(*lines, fontsize=9, loc="outside lower center", ncols=2)
    return drawing


def _curves(axis: Axes, sweeps: Sweeps, height: Height) -> None:
    """Each variant's mean over its runs at each temperature, with the runs as thin lines."""
    for colour, (name, runs) in zip(
        itertools.cycle(CURVES), by_variant(sweeps).items(), strict=False
    ):
        label = _label(name, [each.area for each in runs])
        if len(runs) == 1:
            _curve(axis, label, runs[0].points, height, colour)
            continue
        for one in runs:
            places = [(point.diversity, height(point)[0]) for point in one.points]
            axis.plot(*zip(*places, strict=True), color=colour, lw=0.7, alpha=0.4)
        _curve(axis, label, _means(runs, height), lambda p: (p.quality, p.quality_interval), colour)


def _means(runs: Sequence[Sweep], height: Height) -> list[Point]:
    """At each temperature the mean over runs of a height, as `quality`, and of the diversity. Each
    temperature has its own variance: the runs at all of them are the same.
    """
    at: dict[float | None, list[tuple[float, float]]] = {}
    for one in runs:
        for point in one.points:
            if (y := height(point)[0]) is not None:
                at.setdefault(point.temperature, []).append((point.diversity, y))
    across, up = (
        [means([[place[i] for place in each]])[0] for each in at.values()] for i in (0, 1)
    )
    return [
        Point(temperature, y.value, x.value, y.ends, x.ends, runs[0].points[0].sentences)
        for temperature, x, y in zip(at, across, up, strict=True)
    ]


def _label(name: str, areas: Sequence[float]) -> str:
    if len(areas) == 1:
        return f"{name}, area {areas[0]:.3f}"
    return f"{name}, {count(len(areas), 'run')}, area {min(areas):.3f} to {max(areas):.3f}"


def _curve(axis: Axes, label: str, points: Sequence[Point], height: Height, colour: str) -> None:
    found = [(point, *height(point)) for point in points]
    shown = [(point, y, ends) for point, y, ends in found if y is not None]
    across = [point.diversity for point, _, _ in shown]
    axis.plot(across, [y for _, y, _ in shown], "o-", color=colour, ms=4, lw=1.4, label=label)
    for point, y, ends in shown:
        if ends is not None:
            axis.plot([point.diversity] * 2, ends, color=colour, lw=1)
        if point.diversity_interval is not None:
            axis.plot(point.diversity_interval, [y] * 2, color=colour, lw=1)
    for point, y, _ in shown[:1] + shown[-1:]:
        axis.annotate(f"{point.temperature:g}", (point.diversity, y), (5, 5),
                      textcoords="offset points", color=colour, fontsize=8)  # fmt: skip
