"""The configuration: typed, frozen, checked before anything runs.

TOML and dotted overrides become a `Config` (`core/config/parsing.py`), whose fixed tables are
below. Unknown keys and names are refused with the nearest right one. The annotation `Search` of a
field is its range in searches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from core.config.renamed import comparable, previous_tables
from core.config.slots import FOLDERS
from core.metrics.catalogue import with_curve
from core.numbers import representable
from core.text.settings import CorpusSettings


@dataclass(frozen=True)
class Search:
    """The range a search draws a field from, when a study does not give its own."""

    low: float
    high: float
    log: bool = False

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Put the range into the field's JSON schema."""
        text = f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"
        return {**handler(core_schema), "search": text}


UPDATES = 1000  # of a run whose length nobody says
# Which checkpoint of a run is scored: the last, the best by `evaluation.keep_best`, or the one that
# `train.stop` keeps.
Rule = Literal["last", "best", "early_stop"]
Rules = Annotated[list[Rule], Field(min_length=1)]


class Frozen(BaseModel):
    """Base of every table: immutable, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    _numbers = field_validator("*")(representable)


class StrategyConfig(Frozen):
    """Base of every strategy's own table."""

    name: str = ""  # picks the strategy; given in every configuration


class ModelConfig(Frozen):
    """What generator and discriminator share."""

    length: Annotated[int, Field(ge=2, le=4096)] = 64  # S, end token included
    noise: Literal["uniform", "normal", "truncated"] = "uniform"  # truncated: within 1.5
    mask_after_eos: bool = False  # D does not see what follows the end token


class StopConfig(Frozen):
    """Early stopping. If several checkpoints are selected the run goes on to the end of its budget,
    and the rule only picks one.
    """

    metric: Annotated[str, AfterValidator(with_curve)]  # eval/..., of every evaluation
    patience: Annotated[int, Field(ge=1)]  # evaluations in a row without an improvement
    min_delta: Annotated[float, Field(ge=0)] = 0.0  # a smaller improvement is none


class TrainConfig(Frozen):
    """How long, how fast, how large. With both `updates` and `minutes` the first reached stops."""

    updates: Annotated[int, Field(ge=0)] | None = None  # 1000 where minutes is not given either
    # Minutes of updates: evaluations and checkpoints do not count.
    minutes: Annotated[float, Field(gt=0)] | None = None
    # What minutes are counted on: "wall", or "cpu", the CPU time of the run's process, which is the
    # same beside other processes; on a GPU it counts what the host does.
    clock: Literal["wall", "cpu"] = "wall"
    batch_size: Annotated[int, Field(ge=2, le=65536), Search(16, 512, log=True)] = 64
    micro_batch: Annotated[int, Field(ge=1)] | None = None  # sentences in memory; None: all
    # Draw one fake batch for all D steps of a phase instead of one for each. It saves time and is
    # another algorithm: D's gradients of one phase are no longer independent, and D may learn those
    # very sentences.
    reuse_fakes: bool = False
    # Size of a buffer of sentences that earlier generators drew. Half of each batch of generated
    # sentences that D sees comes from it; 0: no buffer.
    replay: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    # D starts as the pretrained G, where their parts are equal, instead of from random weights.
    discriminator_from_generator: bool = False
    generator_lr: Annotated[float, Field(gt=0, lt=1), Search(1e-5, 3e-2, log=True)] = 1e-4
    discriminator_lr: Annotated[float, Field(gt=0, lt=1), Search(1e-5, 3e-2, log=True)] = 1e-4
    # Share of both rates that is left at the end of the budget, fallen exponentially; 1: constant.
    lr_decay: Annotated[float, Field(gt=0, le=1), Search(0.01, 1, log=True)] = 1.0
    # What learning rates, temperature, instance noise and curriculum follow: the whole run, or only
    # its adversarial phase; then they keep their initial values during pretraining.
    progress: Literal["run", "adversarial"] = "run"
    beta1: Annotated[float, Field(ge=0, lt=1), Search(0, 0.9)] = 0.0
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.9
    clip: Annotated[float, Field(gt=0)] | None = None  # global gradient norm of either player
    clip_generator_only: bool = False  # no clip of other players
    # Clip of the generator's adversarial steps; its likelihood steps keep `clip`. None: `clip`.
    adversarial_clip: Annotated[float, Field(gt=0)] | None = None
    discriminator_weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0  # L2, on D's weights
    # Weight on the entropy of G's distributions, summed over a sentence's steps, in G's loss.
    entropy: Annotated[float, Field(ge=0), Search(1e-4, 0.1, log=True)] = 0.0
    # Standard deviation of noise on the words that D sees, in its embedding space; falls to 0.
    instance_noise: Annotated[float, Field(ge=0), Search(0.01, 1, log=True)] = 0.0
    # Length curriculum: steps at first, and the share of the run after which all S are played.
    curriculum_start: Annotated[int, Field(ge=2, le=4096)] | None = None
    curriculum_end: Annotated[float, Field(gt=0, le=1), Search(0.1, 1)] = 0.5
    max_loss: Annotated[float, Field(gt=0)] = 1e9  # beyond it a run has diverged
    # On divergence, once: back to the last checkpoint, both rates times this; None: the run ends.
    rollback: Annotated[float, Field(gt=0, lt=1)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1), Search(0.9, 0.9999)] = 0.0  # of G's weights; 0 is off
    log_every: Annotated[int, Field(ge=1)] = 10  # updates between two points of train/...
    # Updates. The last two stay until the run has ended and `textgan runs gc` has been told so.
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    keep_every: Annotated[int, Field(ge=1)] | None = None  # updates; these stay for good
    keep_at: list[Annotated[int, Field(ge=1)]] | None = None  # further updates, as keep_every
    threads: Annotated[int, Field(ge=1, le=1024)] = 1  # part of the result: sums depend on it
    # Feed-forward layers of transformers through `torch.compile`: minutes at a run's start.
    compile: bool = False
    stop: StopConfig | None = None  # None: the run uses its whole budget

    @model_validator(mode="before")
    @classmethod
    def _some_budget(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("updates") is given.get("minutes") is None:
            return {**given, "updates": UPDATES}
        return given

    @model_validator(mode="after")
    def _parts_are_equal(self) -> TrainConfig:
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of micro_batch {self.micro_batch}"
            )
        if self.keep_every and self.keep_every % self.checkpoint_every:
            raise ValueError(
                f"keep_every {self.keep_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}"
            )
        return self


class EvaluationConfig(Frozen):
    """What is measured while training; the same numbers of sentences every time."""

    every: Annotated[int, Field(ge=1)] = 100  # updates between two evaluations
    sentences: Annotated[int, Field(ge=2, le=1_000_000)] = 1000  # drawn from G
    references: Annotated[int, Field(ge=2, le=1_000_000)] = 1000  # real, evenly spaced in the split
    shown: Annotated[int, Field(ge=1, le=100)] = 10  # rows of the sample table, fixed latents
    gradients: Annotated[int, Field(ge=0, le=1000)] = 4  # batches that G's signal is taken from
    # Evaluations with a collapsed sample, one after another, that end a run; 0: none do.
    collapse_patience: Annotated[int, Field(ge=0)] = 5
    # A metric, eval/..., of every evaluation: the checkpoint that was best by it stays.
    keep_best: Annotated[str, AfterValidator(with_curve)] | None = None
    # None: the best checkpoint if train.stop and keep_best are given, else the last.
    selection: Rules | None = None  # checkpoints to score at the end; the first is the run's model

    @field_validator("gradients")
    @classmethod
    def _one_gradient_has_no_noise(cls, gradients: int) -> int:
        if gradients == 1:
            raise ValueError("the noise of one gradient is unknown; take 0 for none, or 2 and more")
        return gradients


class ForkConfig(Frozen):
    """The run from whose state this one starts; `textgan fork` writes the table."""

    run: Annotated[str, Field(min_length=1)]  # id of the run
    at: Annotated[int, Field(ge=0)] | None = None  # update of its checkpoint; None: the newest
    # "start": updates and seconds continue from those of the other run, and with them its budget
    # and schedules. "fork": they begin at 0.
    count_from: Literal["start", "fork"] = "start"
    generator_moments: bool = True  # whether the optimiser of G keeps its moments


class Config(Frozen):
    """One run, whole. Slots that the schedule has no use for are absent (None), and all of them
    where a whole `system` stands in their stead.
    """

    name: str = "custom"  # the system, for people
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # of everything that is drawn
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    # "tf32": a GPU's float32 products with 10 bits behind the point. "bf16": that, and transformer
    # blocks in bfloat16; weights, vocabulary head, losses, rollouts and penalties stay float32.
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    # "auto": compiled kernels on a CPU. "torch": their definition in torch, equal to rounding.
    kernels: Literal["auto", "torch"] = "auto"
    corpus: CorpusSettings = CorpusSettings()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    fork: ForkConfig | None = None
    system: StrategyConfig | None = None
    generator: StrategyConfig | None = None
    next_input: StrategyConfig | None = None
    noise_mapping: StrategyConfig | None = None
    sampling: StrategyConfig | None = None
    temperature: StrategyConfig | None = None
    schedule: StrategyConfig | None = None
    estimator: StrategyConfig | None = None
    discriminator: StrategyConfig | None = None
    objective: StrategyConfig | None = None
    penalty: StrategyConfig | None = None

    @property
    def rules(self) -> list[Rule]:
        """Which checkpoints are scored at the end; the first one is the run's model."""
        best = self.train.stop is not None and self.evaluation.keep_best is not None
        return self.evaluation.selection or ["best" if best else "last"]

    def tables(self) -> dict[str, Any]:
        """Plain nested values, ready for TOML or JSON; absent slots and None left out."""
        tables = self.model_dump(mode="json", exclude_none=True, exclude=set(FOLDERS))
        for slot in FOLDERS:
            strategy = getattr(self, slot)
            if strategy is not None:
                tables[slot] = strategy.model_dump(mode="json", exclude_none=True)
        return tables

    def flat(self) -> dict[str, Any]:
        """Dotted keys to values, as the tracker logs them."""
        return flatten(self.tables())

    def config_hash(self) -> str:
        """The same for two runs that differ in seed and name only."""
        return _hash(self._comparable())

    def stored_hashes(self) -> frozenset[str]:
        """The hashes that a store may hold of this configuration, version 0.1's included."""
        return frozenset({self.config_hash(), _hash(previous_tables(self._comparable()))})

    def _comparable(self) -> dict[str, Any]:
        return comparable(self.model_copy(update={"seed": 0, "name": ""}).tables())

    def toml(self) -> str:
        """The file that gives this configuration again."""
        return tomli_w.dumps(self.tables())


def flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _hash(tables: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:16]
