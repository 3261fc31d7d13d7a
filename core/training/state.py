"""The state of one run in training: its players, its data, its random streams, how far it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.config import Config
from core.config.schema import TrainConfig
from core.errors import InputError
from core.interfaces import Discriminator, SamplingSpec, StepPlan
from core.metrics.catalogue import metric_info
from core.nn.discriminator_input import HardTokens
from core.seeding import Streams
from core.training import checkpoint, data_parallel
from core.training.batches import Batches, MicroBatches, micro_batch_count, to_device
from core.training.checkpoint import Checkpoint, Counters
from core.training.players import Adversary, Players
from core.training.replay import Replay
from core.training.scoring import NoisyDiscriminator
from core.types import DiscriminatorInput, Draw

LOSSES_KEPT = 2
Pick = tuple[int, float]  # update and value of an evaluation


class TrainingState:
    """What every step reads and changes. A checkpoint holds all of it (`tensors`, `counters`)."""

    def __init__(
        self, config: Config, players: Players, batches: Batches, device: torch.device
    ) -> None:
        self.config, self.players, self.batches, self.device = config, players, batches, device
        self.streams = Streams(config.seed, device, data_parallel.rank())
        self.counters = Counters()
        self.metrics: dict[str, float] = {}  # "train/..." of this update
        self.clip = config.train.clip  # gradient norm of the steps of this phase
        self.batch_size = data_parallel.local_batch_size(config.train.batch_size)  # N
        size, length = config.train.replay, config.model.length
        self.replay = Replay(size, self.batch_size, length, device) if size else None
        if players.adversary is not None:
            check_group(players.adversary.plan, self.batch_size)
            if hasattr(players.adversary.discriminator, "read"):
                players.adversary.discriminator.read(batches)
        self.last_seen: tuple[DiscriminatorInput, DiscriminatorInput] | None = None  # real, fake
        # Of this update, if the other player's step reads them too: the real and generated
        # sentences of G's step, and the generated ones of D's last step.
        self.of_generator_step: tuple[DiscriminatorInput, Draw] | None = None
        self.of_discriminator_step: Draw | None = None
        self.micro_batches = MicroBatches(
            self.batch_size,
            micro_batch_count(self.batch_size, config.train.micro_batch),
            config.model.length,
            players.adversary is not None and "trimming" in players.adversary.discriminator.offers,
        )

    # How far the run is.

    @property
    def progress(self) -> float:
        """0 at the start of the budget, 1 at its end; of two budgets, of the one nearer its end.
        With `train.progress = "adversarial"` the budget begins after pretraining.
        """
        train, counters = self.config.train, self.counters
        updates, seconds = counters.pretraining if train.progress == "adversarial" else (0, 0.0)
        fractions = [0.0]
        if train.updates and train.updates > updates:
            fractions.append((counters.update - updates) / (train.updates - updates))
        if train.minutes and 60 * train.minutes > seconds:
            fractions.append((counters.seconds - seconds) / (60 * train.minutes - seconds))
        return min(1.0, max(fractions))

    @property
    def temperature_progress(self) -> float:
        """What the temperature is a function of: `progress`, or the fraction of its own `steps`."""
        steps: int | None = getattr(self.players.temperature, "steps", None)
        return self.progress if steps is None else min(1.0, self.adversarial_step / steps)

    @property
    def adversarial_step(self) -> int:
        """Updates since adversarial training began."""
        return self.counters.update - self.counters.pretraining[0]

    def budget_spent(self) -> bool:
        """Whether the run has used its updates or its minutes."""
        return budget_spent(self.config.train, self.counters)

    @property
    def stop_reached(self) -> bool:
        """Whether `train.stop` has seen enough evaluations without an improvement."""
        stop = self.config.train.stop
        return stop is not None and self.counters.waited >= stop.patience

    def ended(self) -> bool:
        """Whether the run has spent its budget or stops early."""
        return self.budget_spent() or (self.stop_reached and len(self.config.rules) == 1)

    def update_picks(self, values: Mapping[str, float | None]) -> None:
        """Hand an evaluation to `evaluation.keep_best` and `train.stop`; that of an untrained
        generator does not count.
        """
        counters, stop = self.counters, self.config.train.stop
        metric, update = self.config.evaluation.keep_best, self.counters.update
        if metric is not None and update:
            counters.best = better(counters.best, (update, values.get(metric)), metric)
        if stop is not None and update and not self.stop_reached:
            now, before = (update, values.get(stop.metric)), counters.stop
            counters.stop = better(before, now, stop.metric, stop.min_delta)
            counters.waited = counters.waited + 1 if counters.stop == before else 0

    def record_loss(self, player: str, loss: float) -> None:
        """Keep a step's loss, for the curves and for schedules that read it."""
        self.metrics[f"train/{player}_loss"] = loss
        history = self.counters.losses.setdefault(player, [])
        history.append(loss)
        del history[:-LOSSES_KEPT]

    # What steps need.

    def sampling_spec(self) -> SamplingSpec:
        """How sentences are drawn at this point of the run."""
        return self.players.sampling_at(self.config, self.progress, self.temperature_progress)

    def next_tokens(self) -> Tensor:
        """The next real sentences (N, S)."""
        tokens = self._real_tokens(self.counters.batches)
        self.counters.batches += 1
        return tokens

    def next_real(self) -> DiscriminatorInput:
        """The next real sentences as D sees them; if it shares those of G's step, theirs."""
        self.counters.batches += 1
        if self.of_generator_step is not None:
            return self.of_generator_step[0]
        tokens = self.last_tokens()
        return HardTokens(tokens, self.sampling_spec().mask(tokens))

    def last_tokens(self) -> Tensor:
        """The real sentences that were read last, as token ids (N, steps), from the data again: a
        checkpoint keeps only the index of their batch.
        """
        steps = self.sampling_spec().length
        return self._real_tokens(max(0, self.counters.batches - 1))[:, :steps]

    def prefixes(self, batches: int) -> Tensor | None:
        """The first tokens (batches N, P) of the real sentences that are read next, if the
        generated ones shall begin with them.
        """
        P, first = self.adversary.plan.prefix, self.counters.batches
        if not P:
            return None
        return torch.cat([self._real_tokens(first + i)[:, :P] for i in range(batches)])

    def _real_tokens(self, number: int) -> Tensor:
        number = number * data_parallel.world_size() + data_parallel.rank()
        return to_device(self.batches.batch(number), self.device)

    @property
    def adversary(self) -> Adversary:
        """Who trains against the generator."""
        if self.players.adversary is None:
            raise AssertionError("an adversarial phase without a discriminator passed the check")
        return self.players.adversary

    def noisy_discriminator(self) -> Discriminator:
        """D behind this point's instance noise; D itself without."""
        sigma = self.config.train.instance_noise * (1 - self.progress)
        discriminator = self.adversary.discriminator
        if not sigma:
            return discriminator
        return NoisyDiscriminator(discriminator, sigma, self.streams["instance"])

    # Checkpoints.

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that the rest of the run depends on."""
        tensors: dict[str, Tensor] = {}
        for name, module in self.players.modules():
            weights = module.state_dict()
            tensors |= {f"weights.{name}.{key}": value for key, value in weights.items()}
        for name, player in self.players.trainable.items():
            tensors |= checkpoint.optimiser_tensors(name, player.optimiser)
        if self.replay is not None:
            tensors["replay.tokens"] = self.replay.tokens
        return tensors | {f"random.{k}": v for k, v in self.streams.state().items()}

    def restore(self, saved: Checkpoint) -> None:
        """Continue where `saved` was taken. Ranks other than 0 start new random streams there: a
        run may resume with another number of processes.
        """
        for name, module in self.players.modules():
            module.load_state_dict(saved.group(f"weights.{name}"))
        for name, player in self.players.trainable.items():
            checkpoint.load_optimiser(player.optimiser, saved.group(f"optimiser.{name}"))
        if self.replay is not None:
            self.replay.tokens = saved.tensors["replay.tokens"].to(self.device)
        self.counters = saved.counters
        if data_parallel.is_main():
            self.streams.restore(saved.group("random"))
        else:
            rank, update = data_parallel.rank(), saved.counters.update
            self.streams = Streams(self.config.seed, self.device, rank, update)


def budget_spent(train: TrainConfig, counters: Counters) -> bool:
    """Whether a run that has come so far has used its updates or its minutes."""
    enough = train.updates is not None and counters.update >= train.updates
    return enough or (train.minutes is not None and counters.seconds >= 60 * train.minutes)


def better(
    best: Pick | None, now: tuple[int, float | None], metric: str, min_delta: float = 0.0
) -> Pick | None:
    """The best evaluation, which is a new one if that improves by more than `min_delta`."""
    update, value = now
    sign = 1 if metric_info(metric).direction == "higher" else -1
    if value is None or (best is not None and sign * (value - best[1]) <= min_delta):
        return best
    return update, value


def check_group(plan: StepPlan, batch_size: int) -> None:
    """InputError unless groups fill the batch of each process, a part of `train.batch_size`."""
    if batch_size % plan.group:
        raise InputError(
            f"the batch of each process ({batch_size}) must be a multiple of "
            f"estimator.group = {plan.group}"
        )
