"""Quality against diversity over temperature, for one trained generator.

At each temperature the same number of sentences is drawn with the same seed; quality is BLEU-4
against held-out references, diversity one less Self-BLEU-4, both of the same sentences (a curve
that takes them at different temperatures is no curve of one model: Caccia et al. 2020). What the
temperature does depends on the generator and is said beside it: an explicit one (its sampling has a
likelihood) has its logits divided by it, an implicit one its noise multiplied by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.errors import InputError
from core.metrics.suite import Suite
from experiments.generate import Writer
from studies.analysis.temperature import Point, Sweep, area

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
QUALITY, SAMENESS = "bleu_4", "self_bleu_4"
Text = Sequence[Sequence[str]]


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
