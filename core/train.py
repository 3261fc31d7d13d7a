"""The loop. It walks the phases that the schedule gives and asks for nothing by name.

batch -> phases (D on real and drawn words, G through its estimator, or likelihood)
      -> average -> log -> evaluate -> save
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from core import checkpoint
from core.batches import Batches
from core.checkpoint import Checkpoint, Counters
from core.config import Config
from core.nn.words import TokenWords, mean_difference
from core.players import Opponent, Players, as_module
from core.protocols import Phase, Progress, Rows, Words
from core.rollout import draw_for_gradient, draw_words
from core.seeding import Streams
from core.text.vocabulary import PAD

Log = Callable[[Mapping[str, float | None], int], None]
KEPT_LOSSES = 2
TOGETHER = 2**25  # numbers in the keys, values and logits of one rollout


class Diverged(Exception):  # noqa: N818 - a result, not an error
    """A loss or a gradient is no longer a finite number."""


class Trainer:
    """One run: its players, its data, its randomness, and how far it has come."""

    def __init__(
        self, config: Config, players: Players, batches: Batches, device: torch.device, log: Log
    ) -> None:
        self.config, self.players, self.batches, self.device = config, players, batches, device
        self.streams = Streams(config.seed, device)
        self.counters = Counters()
        self._log = log
        self._values: dict[str, float] = {}
        self._real: Words | None = None
        self._fake: Words | None = None

    def train(self, evaluate: Callable[[], None], save: Callable[[], None]) -> None:
        """Run to the end of the budget; Diverged when a number is no longer finite."""
        train, counters = self.config.train, self.counters
        began = time.monotonic() - counters.seconds
        if counters.update == 0:
            evaluate()
        while not self._budget_spent():
            progress = Progress(counters.update, counters.losses)
            for phase in self.players.schedule.phases(progress):
                self._play(phase)
            self._average()
            counters.update += 1
            counters.seconds = time.monotonic() - began
            last = self._budget_spent()
            if counters.update % train.log_every == 0 or last:
                self._log(self._curves(), counters.update)
            if counters.update % self.config.evaluation.every == 0 or last:
                evaluate()
            if counters.update % train.checkpoint_every == 0 or last:
                save()

    @property
    def progress(self) -> float:
        """0 at the start of the budget, 1 at its end; of the budget that is nearer its end."""
        train, shares = self.config.train, [0.0]
        if train.updates:
            shares.append(self.counters.update / train.updates)
        if train.minutes:
            shares.append(self.counters.seconds / (60 * train.minutes))
        return min(1.0, max(shares))

    def _budget_spent(self) -> bool:
        train = self.config.train
        enough = train.updates is not None and self.counters.update >= train.updates
        return enough or (train.minutes is not None and self.counters.seconds >= 60 * train.minutes)

    # One step of one player.

    def _play(self, phase: Phase) -> None:
        """All steps of a phase. G stands still while D moves, so D's fakes are drawn together."""
        if phase.player == "discriminator":
            for fake in self._fakes(phase.repeats):
                self._keep_loss(phase, self._discriminator_step(fake))
        else:
            step = self._generator_step if phase.loss == "adversarial" else self._likelihood_step
            for _ in range(phase.repeats):
                self._keep_loss(phase, step())

    def _fakes(self, count: int) -> Iterator[Words]:
        """`count` batches of drawn words, as many in one rollout as memory has room for."""
        drawing = self.players.drawing(self.config, self.progress)
        generator, rng = self.players.generator, self.streams["noise"]
        size = self.config.train.batch_size
        room = max(1, TOGETHER // (size * generator.head.out_features))
        while count > 0:
            now = min(room, count)
            yield from draw_words(generator, drawing, now * size, rng, now).words.chunk(now)
            count -= now

    def _keep_loss(self, phase: Phase, loss: float) -> None:
        self._values[f"train/{phase.player}_loss"] = loss
        history = self.counters.losses[phase.player]
        history.append(loss)
        del history[:-KEPT_LOSSES]

    def _discriminator_step(self, fake: Words) -> float:
        opponent = self._opponent()
        D = opponent.discriminator
        self._real, self._fake = self._next_real(), fake
        real, made = (Rows.of(words, D.embedding) for words in (self._real, fake))
        both = real + made
        real_scores, fake_scores = D.score(both.embedded, both.mask).chunk(2)
        penalty = opponent.penalty(D, real, made, self.streams["penalty"])
        loss = opponent.objective.discriminator(real_scores, fake_scores) + penalty
        self._values |= {
            "train/real_score": float(real_scores.detach().mean()),
            "train/fake_score": float(fake_scores.detach().mean()),
            "train/penalty": float(penalty.detach()),
        }
        return self._descend("discriminator", as_module(D), opponent.optimiser, loss)

    def _generator_step(self) -> float:
        opponent = self._opponent()
        if self._real is None:
            self._real = self._next_real()
        drawing = self.players.drawing(self.config, self.progress)
        size = self.config.train.batch_size
        draw = draw_for_gradient(self.players.generator, drawing, size, self.streams["noise"])
        # D's weights get no gradient from G's loss, so none is computed.
        judge = as_module(opponent.discriminator).requires_grad_(False)
        loss = opponent.estimator.loss(draw, self._real, opponent.discriminator, opponent.objective)
        module = as_module(self.players.generator)
        value = self._descend("generator", module, self.players.optimiser, loss)
        judge.requires_grad_(True)
        return value

    def _likelihood_step(self) -> float:
        tokens = self._next_tokens()
        generator = self.players.generator
        noise = generator.draw_noise(len(tokens), self.streams["noise"])
        logits = generator.logits(generator.parallel(tokens, noise))  # (N, S, V)
        # Mean over the words and end tokens, in nats.
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=PAD)
        return self._descend("generator", as_module(generator), self.players.optimiser, loss)

    def _descend(
        self, player: str, module: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor
    ) -> float:
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        limit = self.config.train.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), limit))
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(norm):
            raise Diverged(
                f"{player} loss {value}, gradient norm {norm} at update {self.counters.update + 1}"
            )
        optimiser.step()
        self._values[f"train/{player}_gradient_norm"] = norm
        return value

    # What a step needs.

    def _opponent(self) -> Opponent:
        if self.players.opponent is None:
            raise AssertionError("an adversarial phase without a discriminator passed the check")
        return self.players.opponent

    def _next_tokens(self) -> Tensor:
        tokens = self.batches.batch(self.counters.batches).to(self.device)
        self.counters.batches += 1
        return tokens

    def _next_real(self) -> TokenWords:
        tokens = self._next_tokens()
        return TokenWords(tokens, self.players.drawing(self.config, 0.0).mask(tokens))

    def _average(self) -> None:
        decay, players = self.config.train.ema, self.players
        if players.averaged is players.generator:
            return
        with torch.no_grad():
            averaged = as_module(players.averaged).parameters()
            for mean, new in zip(averaged, as_module(players.generator).parameters(), strict=True):
                mean.lerp_(new, 1 - decay)

    def _curves(self) -> dict[str, float | None]:
        counters, curves = self.counters, dict(self._values)
        rate = counters.update / max(counters.seconds, 1e-9)
        curves["train/updates_per_second"] = rate
        if self._real is not None and self._fake is not None:
            V = self._opponent().discriminator.embedding.shape[0]
            curves["train/mean_difference"] = float(mean_difference(self._real, self._fake, V))
        return dict(curves)

    # All that resuming needs.

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the rest of the run depends on."""
        tensors: dict[str, Tensor] = {}
        for name, module in self.players.modules():
            tensors |= checkpoint.module_tensors(name, module)
        for name, optimiser in self.players.optimisers():
            tensors |= checkpoint.optimiser_tensors(name, optimiser)
        return tensors | {f"random.{k}": v for k, v in self.streams.state().items()}

    def restore(self, saved: Checkpoint) -> None:
        """Go on where `saved` was taken."""
        for name, module in self.players.modules():
            module.load_state_dict(saved.group(f"weights.{name}"))
        for name, optimiser in self.players.optimisers():
            checkpoint.load_optimiser(optimiser, saved.group(f"optimiser.{name}"))
        self.streams.restore(saved.group("random"))
        self.counters = saved.counters
