"""The document of `textgan evaluate --json`: what stands in it, whatever was measured.

Stable: names may be added, none is renamed or removed, and no number is ever NaN (undefined is
null). Shares and scores are between 0 and 1 where the metric's page says so.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Number = float | None


class MetricRow(BaseModel):
    """A metric of the samples."""

    model_config = ConfigDict(extra="forbid")
    value: Number = Field(description="null where it is undefined, as copied without --train")
    low: Number = Field(description="lower end of the 95% interval; null where there is none")
    high: Number = Field(description="upper end of it; null where low is")
    samples: int = Field(ge=0, description="sentences that the value is of")
    references: int = Field(ge=0, description="sentences that they were compared with")
    direction: Literal["higher", "lower", "near"] = Field(
        description="which way is better; near: near to what real text has"
    )


class Baselines(BaseModel):
    """A value a metric of real text, the MLE baseline and the n-gram model; null without one."""

    model_config = ConfigDict(extra="forbid")
    real: dict[str, Number] | None
    mle: dict[str, Number] | None
    ngram: dict[str, Number] | None


class BaselineIntervals(BaseModel):
    """Their 95% intervals, [low, high]; null where there is none."""

    model_config = ConfigDict(extra="forbid")
    real: dict[str, tuple[float, float] | None] | None
    mle: dict[str, tuple[float, float] | None] | None
    ngram: dict[str, tuple[float, float] | None] | None


class About(BaseModel):
    """What each baseline is, in words; of the MLE baseline its budget and perplexity too."""

    model_config = ConfigDict(extra="forbid")
    real: str | None
    mle: str | None
    ngram: str | None


class Document(BaseModel):
    """The whole."""

    model_config = ConfigDict(extra="forbid")
    metrics: dict[str, MetricRow] = Field(description="by name, all of the groups asked for")
    baselines: Baselines
    baseline_intervals: BaselineIntervals
    about: About
    warnings: list[str] = Field(description="sentences for people, none where all is well")
