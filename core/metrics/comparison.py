"""Two or more samples against the same references: differences with 95% intervals.

The first sample is the baseline, and each other one is compared with it, metric by metric. The
sentences of two samples are independent. The references are the same, and enter the interval in one
of three ways:

- BLEU and MS-Jaccard hold the references fixed, so the interval has no scatter of them;
- FED, MMD, C2ST, reverse-LM and `jsd_bound` let them vary. A reference changes both values, mostly
  in one direction; the covariance of the two changes (jackknife over references) is taken out, and
  the difference is `paired`. For MMD this is the test of Bounliphone et al. (2016);
- nearest neighbours let them vary, and the change by each reference is not known. The two values
  count as independent, so the interval is too wide rather than too narrow.

The intervals of the two values are combined by the method of variance estimates recovery
(`intervals.difference`). They are not adjusted for the number of metrics and samples.

Values with different signatures are not subtracted, such as a size-dependent metric of samples of
different sizes: the difference is null, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from core.metrics.catalogue import CATALOGUE, GROUPS, TEXT_GROUPS
from core.metrics.files import (
    JUDGE,
    Evaluation,
    Inputs,
    MetricRow,
    Number,
    Step,
    evaluate,
    suite_of,
)
from core.metrics.intervals import difference, jackknife_covariance
from core.metrics.ngrams import Text
from core.metrics.signature import Signature


class Difference(BaseModel):
    """A metric of one sample minus that of the baseline."""

    model_config = ConfigDict(extra="forbid")
    value: Number = Field(description="null if one of the values is, or if they have a `reason`")
    low: Number = Field(description="lower end of the 95% interval; null if there is none")
    high: Number = Field(description="upper end of the interval; null if low is")
    paired: bool = Field(description="whether scatter of the references common to both is removed")
    reason: str | None = Field(description="why the values cannot be subtracted; null if they can")


class EvaluationComparison(BaseModel):
    """The document of `textgan evaluate A B ... --json`."""

    model_config = ConfigDict(extra="forbid")
    baseline: str = Field(description="the first file")
    files: dict[str, Evaluation] = Field(
        description="an evaluation of each; only that of the first has rows of baselines"
    )
    differences: dict[str, dict[str, Difference]] = Field(
        description="of each other file: by metric, its value minus that of the first file"
    )


def compare(
    inputs: Inputs,
    samples: Mapping[str, Text],
    groups: Sequence[str] = TEXT_GROUPS,
    step: Step = lambda group, done, total: None,
) -> EvaluationComparison:
    """Score two or more samples by name, with `inputs` for everything but the samples."""
    suite = suite_of(inputs)
    files: dict[str, Evaluation] = {}
    changes: dict[str, dict[str, np.ndarray | None]] = {}
    if inputs.judgements is not None and JUDGE in groups and inputs.protocol is None:
        for sentences in samples.values():
            suite.judge_in(inputs.judgements, sentences, keep=False)
    for place, (name, sentences) in enumerate(samples.items()):
        own = replace(inputs, samples=sentences)
        if files:
            own = replace(own, mle=None, baselines=False)
        changes[name] = {}

        def of_file(group: str, done: float, total: float, place: int = place) -> None:
            step(group, place + done / total, len(samples))

        files[name] = evaluate(own, groups, of_file, suite, changes[name])
    baseline, *others = samples
    differences = {
        other: {
            metric: _difference(
                metric,
                files[baseline].metrics[metric],
                row,
                changes[baseline][metric],
                changes[other][metric],
            )
            for metric, row in files[other].metrics.items()
        }
        for other in others
    }
    return EvaluationComparison(baseline=baseline, files=files, differences=differences)


def _difference(
    metric: str,
    first: MetricRow,
    second: MetricRow,
    of_first: np.ndarray | None,
    of_second: np.ndarray | None,
) -> Difference:
    """Second - first; `of_first` and `of_second` are the changes by each reference."""
    nothing = Difference(value=None, low=None, high=None, paired=False, reason=None)
    why = Signature.parse(first.signature).differences(
        Signature.parse(second.signature),
        size_dependent=GROUPS[CATALOGUE[metric].group].size_dependent,
    )
    if why:
        return nothing.model_copy(update={"reason": f"different {', '.join(why)}"})
    if first.value is None or second.value is None:
        return nothing
    found = nothing.model_copy(update={"value": second.value - first.value})
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return found
    covariance, paired = 0.0, False
    if of_first is not None and of_second is not None and len(of_first) == len(of_second):
        covariance, paired = jackknife_covariance(of_first, of_second), True
    low, high = difference(
        (first.value, first.low, first.high), (second.value, second.low, second.high), covariance
    )
    return found.model_copy(update={"low": low, "high": high, "paired": paired})
