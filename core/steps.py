"""One step of one player: what it draws, what it loses, how its weights move.

A batch may be cut into parts (`core.micro_batches`): losses that are means over sentences are then
the mean of the parts, and gradients add up to the same, while only one part's activations are in
memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from core.batches import Batches, moved
from core.checkpoint import Counters
from core.config import Config
from core.denormals import denormals_are_zero
from core.game import (
    PENALTY,
    SCORES,
    discriminator_loss,
    generator_loss,
    likelihood_loss,
)
from core.graphs import Graphs
from core.micro_batches import MicroBatches
from core.nn.instance_noise import Blurred
from core.nn.words import TokenWords, lengths, longest_of, mean_difference, movable
from core.phases import Phase, Stage
from core.players import Opponent, Players, as_module, still
from core.protocols import Discriminator, Estimator
from core.rollout import TOGETHER, Drawing, draw_for_gradient, draw_words, split
from core.seeding import Streams
from core.sentences import Draw, Rows, Words
from core.shares import ALONE, Share
from core.text.vocabulary import PAD
from core.turn import Turn

KEPT_LOSSES = 2


class Diverged(Exception):  # noqa: N818 - a result, not an error
    """A loss, a gradient or a weight is no longer a finite number, or a loss has exploded.

    `values` are the numbers that led there: the loss, the norm, each weight's gradient norm.
    """

    def __init__(self, words: str, values: Mapping[str, float]) -> None:
        super().__init__(words)
        self.values = dict(values)


class Steps:
    """The moves of both players. `values` are the train/... numbers of this update."""

    def __init__(
        self,
        config: Config,
        players: Players,
        batches: Batches,
        device: torch.device,
        share: Share = ALONE,
    ) -> None:
        self.config, self.players, self.batches, self.device = config, players, batches, device
        self.share = share
        self.streams = Streams(config.seed, device)
        self.values: dict[str, float] = {}
        self._graphs = Graphs() if config.train.rollout == "graph" else None
        self._seen: tuple[Words, Words] | None = None  # real, fake
        size = config.train.batch_size
        opponent = players.opponent
        self.micro = MicroBatches(
            size,
            size // (config.train.micro_batch or size),
            config.model.length,
            opponent is not None and "trimming" in opponent.discriminator.offers,
            share,
        )

    def begin(self) -> None:
        """A new update: nothing is left of the last one, so a resumed run misses nothing."""
        self.values, self._seen = {}, None

    @denormals_are_zero()
    def play(self, phase: Phase, progress: float, counters: Counters) -> None:
        """All steps of a phase. G stands still while D moves, so D's fakes are drawn together."""
        self.set_optimiser(phase, progress, counters)
        if callable(phase.loss):
            for _ in range(phase.repeats):
                self.note(phase, self._own_step(phase, progress, counters), counters)
        elif phase.player == "discriminator":
            for fake in self.fakes(phase.repeats, progress):
                self.note(phase, self._discriminator_step(fake, progress, counters), counters)
        else:
            for _ in range(phase.repeats):
                if phase.loss == "adversarial":
                    loss = self._generator_step(progress, counters)
                else:
                    loss = self._likelihood_step(counters)
                self.note(phase, loss, counters)

    def set_optimiser(self, phase: Phase, progress: float, counters: Counters) -> None:
        """The learning rate of a phase's steps, and no moments where they begin anew."""
        train = self.config.train
        own = train.generator_lr if phase.player == "generator" else train.discriminator_lr
        share = train.lr_decay**progress * (train.rollback or 1.0) ** counters.rollbacks
        optimiser = self.players.mover(phase.player).optimiser
        for group in optimiser.param_groups:
            group["lr"] = (phase.rate or own) * share
        if phase.anew:
            optimiser.state.clear()

    def drawing(self, progress: float) -> Drawing:
        """How sentences are drawn for a step at this progress (0 to 1) of the run."""
        return replace(self.players.drawing(self.config, progress), rollout=self._graphs)

    def mean_difference(self) -> float | None:
        """The original's progress curve, of the last sentences that D saw."""
        if self._seen is None:
            return None
        return float(mean_difference(*self._seen, self.players.generator.head.out_features))

    def note(self, phase: Phase, loss: float, counters: Counters) -> None:
        """Keep a step's loss, for the curves and for schedules that look at it."""
        self.values[f"train/{phase.player}_loss"] = loss
        history = counters.losses.setdefault(phase.player, [])
        history.append(loss)
        del history[:-KEPT_LOSSES]

    # A system's own.

    def _own_step(self, phase: Phase, progress: float, counters: Counters) -> float:
        assert callable(phase.loss)
        mover = self.players.mover(phase.player)
        stage = Stage(
            self.config.train.batch_size,
            self.device,
            self.drawing(progress),
            lambda: self.next_tokens(counters),
            self.streams.__getitem__,
            self.values,
            self.batches.sentences,
        )
        # The loss is computed inside, behind the gradients of the step before.
        losses = (loss(stage) for loss in (phase.loss,))
        return self._descend(phase.player, mover.module, mover.optimiser, losses, counters)

    # D.

    def fakes(self, count: int, progress: float) -> Iterator[Words]:
        """`count` batches of drawn words, as many in one rollout as memory has room for."""
        drawing = self.drawing(progress)
        generator, rng = self.players.generator, self.streams["noise"]
        size = self.config.train.batch_size
        if self.config.train.reuse_fakes:
            words = draw_words(generator, drawing, size, rng, self.micro.count, 1, self.share).words
            yield from itertools.repeat(words, count)
            return
        room = max(1, TOGETHER // (size * generator.head.out_features))
        while count > 0:
            now = min(room, count)
            draw = draw_words(
                generator, drawing, now * size, rng, self.micro.count, now, self.share
            )
            yield from draw.words.chunk(now)
            count -= now

    def opposed(
        self, fake: Words, progress: float, counters: Counters
    ) -> tuple[Words, Tensor | None]:
        """The next real words to stand beside drawn ones, and the penalty's chance."""
        opponent = self.opponent()
        real = self._next_real(progress, counters)
        self._seen = real, fake
        return real, opponent.penalty.draw(self.config.train.batch_size, self.streams["penalty"])

    def _discriminator_step(self, fake: Words, progress: float, counters: Counters) -> float:
        opponent = self.opponent()
        real, drawn = self.opposed(fake, progress, counters)
        parts: list[tuple[Tensor, ...]] = []  # read when all is asked of a GPU, which then waits
        weights: list[float] = []
        D = opponent.discriminator
        seen_by = self._through_noise(D, progress)

        def losses() -> Iterator[Tensor]:
            for real_part, fake_part, drawn_part, weight in self.micro.pairs(real, fake, drawn):
                rows = Rows.of(real_part, D.embedding), Rows.of(fake_part, D.embedding)
                loss, means = discriminator_loss(opponent, seen_by, *rows, drawn_part)
                parts.append(tuple(mean.detach() for mean in means))
                weights.append(weight)
                yield loss * weight

        loss = self._descend("discriminator", as_module(D), opponent.optimiser, losses(), counters)
        whole = [
            sum(float(value) * weight for value, weight in zip(values, weights, strict=True))
            for values in zip(*parts, strict=True)
        ]
        self.note_scores(self.share.total(*whole))
        return loss

    def note_scores(self, means: Sequence[float]) -> None:
        """Keep what `discriminator_loss` says beside the loss; features have no score."""
        compares = self.opponent().objective.compares
        named = zip(SCORES, means, strict=True)
        self.values |= {k: v for k, v in named if k == PENALTY or not compares}

    # G.

    def turn(self, draw: Draw, progress: float, counters: Counters) -> Turn:
        """G's turn with what it has drawn."""
        opponent = self.opponent()
        return Turn(
            draw,
            self._last_real(progress, counters),
            self.players.generator,
            self.drawing(progress),
            self._through_noise(opponent.discriminator, progress),
            opponent.objective,
            self.streams["estimator"],
            self.micro.count,
        )

    def _generator_step(self, progress: float, counters: Counters) -> float:
        opponent = self.opponent()
        generator, size = self.players.generator, self.config.train.batch_size
        drawing = self.drawing(progress)
        draw = draw_for_gradient(
            generator, drawing, size, self.streams["noise"], self.micro.count, self.share
        )
        # D's weights get no gradient from G's loss.
        with still(as_module(opponent.discriminator)):
            losses = self._losses(self.turn(draw, progress, counters), opponent.estimator)
            module = as_module(generator)
            return self._descend("generator", module, self.players.optimiser, losses, counters)

    def _losses(self, turn: Turn, estimator: Estimator) -> Iterator[Tensor]:
        """G's loss part by part. A draw that is no longer known without its gradient has each
        part's gathered at the hidden states, and sent on through G once.
        """
        judged = estimator.judge(turn)
        if self.micro.count == 1:
            yield generator_loss(turn, estimator, judged, self.config.train.entropy)
            return
        draw, leaf = turn.draw, None
        if draw.anew is not None:
            length = lengths(draw.words) if movable(draw.words) else None
            pieces = self.micro.pieces(length, padded=True)
            draws: Iterable[Draw] = map(draw.anew, pieces)
        else:
            leaf = draw.hidden.detach().requires_grad_(True)
            whole = split(replace(draw, hidden=leaf, words=draw.words_of(leaf)), self.micro.count)
            pieces = self.micro.pieces(None, padded=True)
            draws = [whole[i] for i in self.share.parts(self.micro.count)]
        for piece, part in zip(pieces, turn.split(draws, pieces), strict=True):
            weight = (piece.stop - piece.start) / len(draw.tokens)
            of_part = [tensor[piece] for tensor in judged]
            loss = generator_loss(part, estimator, of_part, self.config.train.entropy)
            yield loss * weight
        if leaf is not None:
            assert leaf.grad is not None
            draw.hidden.backward(leaf.grad)  # type: ignore[no-untyped-call]

    def _likelihood_step(self, counters: Counters) -> float:
        tokens = self.next_tokens(counters)
        tokens = tokens[:, : longest_of(tokens)]  # what is padding everywhere costs nothing
        generator = self.players.generator
        noise = generator.draw_noise(len(tokens), self.streams["noise"])
        ours, words = self.share.rows(tokens), (tokens != PAD).sum()
        loss = likelihood_loss(generator, ours, self.share.of_noise(noise), words)
        module = as_module(generator)
        return self._descend("generator", module, self.players.optimiser, [loss], counters)

    # What both need.

    def _descend(
        self,
        player: str,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        losses: Iterable[Tensor],
        counters: Counters,
    ) -> float:
        """Add up the gradients of the parts of a loss and move; the loss."""
        optimiser.zero_grad(set_to_none=True)
        values = []
        for loss in losses:
            torch.autograd.backward(loss)
            values.append(loss.detach())
        (value,) = self.share.total(sum(map(float, values)))
        self.share.add_gradients(module)
        self.move(player, module, optimiser, value, counters)
        return value

    def move(
        self,
        player: str,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        value: float,
        counters: Counters,
    ) -> None:
        """Move by the gradients that a loss of this value has left; Diverged where one of them is
        no finite number.
        """
        limit = self.config.train.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), limit))
        largest = self.config.train.max_loss
        if not math.isfinite(norm) or not abs(value) <= largest:  # NaN is not below anything
            words = f"{player} loss {value:g}, gradient norm {norm:g} at update"
            norms = {
                f"gradient/{name}": float(weight.grad.norm())
                for name, weight in module.named_parameters()
                if weight.grad is not None
            }
            raise Diverged(
                f"{words} {counters.update + 1}",
                {**self.values, f"{player}_loss": value, f"{player}_gradient_norm": norm, **norms},
            )
        optimiser.step()
        self.values[f"train/{player}_gradient_norm"] = norm

    def opponent(self) -> Opponent:
        """Who plays against the generator."""
        if self.players.opponent is None:
            raise AssertionError("an adversarial phase without a discriminator passed the check")
        return self.players.opponent

    def next_tokens(self, counters: Counters) -> Tensor:
        """The next real sentences (N, S)."""
        tokens = moved(self.batches.batch(counters.batches), self.device)
        counters.batches += 1
        return tokens

    def _next_real(self, progress: float, counters: Counters) -> TokenWords:
        counters.batches += 1
        return self._last_real(progress, counters)

    def _last_real(self, progress: float, counters: Counters) -> TokenWords:
        """The real sentences read last, read again: nothing has to be kept for a resumed run."""
        drawing = self.drawing(progress)
        batch = moved(self.batches.batch(max(0, counters.batches - 1)), self.device)
        tokens = batch[:, : drawing.length]
        return TokenWords(tokens, drawing.mask(tokens))

    def _through_noise(self, discriminator: Discriminator, progress: float) -> Discriminator:
        sigma = self.config.train.instance_noise * (1 - progress)
        if not sigma:
            return discriminator
        return cast(Discriminator, Blurred(discriminator, sigma, self.streams["instance"]))
