"""Steps of several runs of equal shape at once: their weights stacked, one pass for all of them.

Run k has its weights theta_k, its batch and its loss L_k. One program computes all the losses,
`torch.func.vmap` over the stacked theta, and since L_k depends on theta_k alone, one backward pass
of sum_k L_k leaves each run the gradient of its own loss. All else stays each run's own, and is
done by the code that does it for a run alone: what it draws and rolls out, what an estimator makes
of the whole batch, rates, clip, optimiser, and whether it has diverged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import pad

from core.denormals import denormals_are_zero
from core.game import discriminator_loss, generator_loss, likelihood_loss
from core.nn.stacked import stacking
from core.nn.words import TokenWords, longest, longest_of
from core.phases import Phase
from core.players import as_module, still
from core.rollout import draw_words
from core.sentences import Draw, Noise, Rows, Words
from core.steps import Diverged
from core.text.vocabulary import PAD
from core.train import Trainer
from core.turn import Turn

NOISE = ("latent", "inputs", "injected")
Parts = Mapping[str, Tensor]  # each with the runs as first axis; inside the pass without it
Losses = Callable[[Parts], tuple[Tensor, ...]]


@denormals_are_zero()
def play_together(phase: Phase, trainers: Sequence[Trainer]) -> dict[int, Diverged]:
    """All steps of a phase that all these runs have come to; by its place, each that diverged."""
    stack = _Stack(trainers)
    for trainer in trainers:
        trainer.steps.set_optimiser(phase, trainer.progress, trainer.counters)
    if phase.player == "discriminator":
        stack.discriminator_steps(phase)
    else:
        step = stack.generator_step if phase.loss == "adversarial" else stack.likelihood_step
        for _ in range(phase.repeats):
            step(phase)
    return stack.diverged


class _Stack:
    """The runs that are still at it in this phase."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._all = list(trainers)
        self.diverged: dict[int, Diverged] = {}

    @property
    def _runs(self) -> list[Trainer]:
        return [t for place, t in enumerate(self._all) if place not in self.diverged]

    def discriminator_steps(self, phase: Phase) -> None:
        """D's steps on real and drawn words."""
        fakes = [t.steps.fakes(phase.repeats, t.progress) for t in self._all]
        for _ in range(phase.repeats):
            batches = [next(words) for words in fakes]  # also of who has diverged: it is over soon
            self._discriminator_step(
                phase, [b for p, b in enumerate(batches) if p not in self.diverged]
            )

    def _discriminator_step(self, phase: Phase, fakes: Sequence[Words]) -> None:
        runs = self._runs
        if not runs:
            return
        opponents = [t.steps.opponent() for t in runs]
        rows = []
        for t, fake, opponent in zip(runs, fakes, opponents, strict=True):
            real, drawn = t.steps.opposed(fake, t.progress, t.counters)
            # Words become rows run by run, whatever they are.
            r, f = (Rows.of(words, opponent.discriminator.embedding) for words in (real, fake))
            rows.append({"real": r.embedded, "fake": f.embedded, "drawn": drawn,
                         "real_mask": r.mask, "fake_mask": f.mask})  # fmt: skip
        judge = opponents[0]

        def losses(x: Parts) -> tuple[Tensor, ...]:
            real, fake = Rows(x["real"], x.get("real_mask")), Rows(x["fake"], x.get("fake_mask"))
            found = discriminator_loss(judge, judge.discriminator, real, fake, x.get("drawn"))
            return found[0], torch.stack(found[1])

        scenes = [_Scene(discriminator=as_module(each.discriminator)) for each in opponents]
        found, means = _together(scenes, losses, _stacked(rows))
        self._descend(phase, found)
        moved = self._runs
        for t, of_run in zip(runs, means.detach().tolist(), strict=True):
            if t in moved:
                t.steps.note_scores(of_run)

    def generator_step(self, phase: Phase) -> None:
        """G's step through its estimator."""
        runs = self._runs
        if not runs:
            return
        opponents = [t.steps.opponent() for t in runs]
        with still(*(as_module(each.discriminator) for each in opponents)):
            turns = self._turns(runs)
            verdicts = [
                opponent.estimator.judge(turn)
                for turn, opponent in zip(turns, opponents, strict=True)
            ]
            rows = []
            for turn, judged in zip(turns, verdicts, strict=True):
                rows.append({"hidden": turn.draw.hidden, "tokens": turn.draw.tokens,
                             "mask": turn.mask, "words": _embedded(turn),
                             "real": cast(TokenWords, turn.real).tokens,
                             "real_mask": turn.real.mask,
                             **{f"judged {i}": part for i, part in enumerate(judged)}})  # fmt: skip
            first, estimator = turns[0], opponents[0].estimator
            bonus, count = runs[0].config.train.entropy, len(verdicts[0])

            def losses(x: Parts) -> tuple[Tensor, ...]:
                turn = _turn(first, x)
                judged = [x[f"judged {i}"] for i in range(count)]
                return (generator_loss(turn, estimator, judged, bonus),)

            scenes = [
                _Scene(
                    generator=as_module(t.players.generator),
                    discriminator=as_module(opponent.discriminator),
                )
                for t, opponent in zip(runs, opponents, strict=True)
            ]
            self._descend(phase, _together(scenes, losses, _stacked(rows))[0])

    def _turns(self, runs: Sequence[Trainer]) -> list[Turn]:
        """Each run's turn; the hidden states of all of them, with gradient, in one pass."""
        draws = [
            draw_words(
                t.players.generator,
                t.steps.drawing(t.progress),
                t.config.train.batch_size,
                t.steps.streams["noise"],
            )
            for t in runs
        ]
        S = draws[0].tokens.shape[1]
        steps = max(longest(draw.words.mask, S) for draw in draws)
        generator, noise = runs[0].players.generator, draws[0].noise

        def hidden(x: Parts) -> tuple[Tensor, ...]:
            return (generator.parallel(x["tokens"], _noise(noise, x)),)

        scenes = [_Scene(generator=as_module(t.players.generator)) for t in runs]
        rows = [
            {"tokens": draw.tokens[:, :steps], **_drawn(cast(Noise, draw.noise))} for draw in draws
        ]
        found = pad(_together(scenes, hidden, _stacked(rows))[0], (0, 0, 0, S - steps))
        turns = []
        for t, draw, of_run in zip(runs, draws, found.unbind(), strict=True):
            with_gradient = replace(draw, hidden=of_run, words=draw.words_of(of_run))
            turns.append(t.steps.turn(with_gradient, t.progress, t.counters))
        return turns

    def likelihood_step(self, phase: Phase) -> None:
        """G's step on real text."""
        runs = self._runs
        if not runs:
            return
        batches = [t.steps.next_tokens(t.counters) for t in runs]
        noises = [
            t.players.generator.draw_noise(len(tokens), t.steps.streams["noise"])
            for t, tokens in zip(runs, batches, strict=True)
        ]
        steps = max(longest_of(tokens) for tokens in batches)
        generator, noise = runs[0].players.generator, noises[0]

        def losses(x: Parts) -> tuple[Tensor, ...]:
            words = (x["tokens"] != PAD).sum()
            return (likelihood_loss(generator, x["tokens"], _noise(noise, x), words),)

        scenes = [_Scene(generator=as_module(t.players.generator)) for t in runs]
        rows = [
            {"tokens": tokens[:, :steps], **_drawn(of_run)}
            for tokens, of_run in zip(batches, noises, strict=True)
        ]
        self._descend(phase, _together(scenes, losses, _stacked(rows))[0])

    def _descend(self, phase: Phase, losses: Tensor) -> None:
        """One backward pass; then each run moves, or has diverged."""
        runs = self._runs
        movers = [t.players.mover(phase.player) for t in runs]
        for mover in movers:
            mover.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.sum())
        for t, mover, value in zip(runs, movers, losses.detach().tolist(), strict=True):
            try:
                t.steps.move(phase.player, mover.module, mover.optimiser, value, t.counters)
            except Diverged as diverged:
                self.diverged[self._all.index(t)] = diverged
            else:
                t.steps.note(phase, value, t.counters)


class _Scene(nn.Module):
    """The players that a pass needs, as one module whose parameters can be set."""

    def __init__(self, **players: nn.Module) -> None:
        super().__init__()
        for name, player in players.items():
            self.add_module(name, player)

    def forward(self, losses: Losses, x: Parts) -> tuple[Tensor, ...]:
        return losses(x)


def _together(scenes: Sequence[_Scene], losses: Losses, x: Parts) -> tuple[Tensor, ...]:
    """What `losses` gives with each run's parameters and its part of x: first axis the runs. The
    gradient reaches each run's own parameters.

    `losses` speaks of the first run's modules. One run by itself has its double beside it: products
    of one matrix are rounded otherwise than those of several, which are all rounded alike.
    """
    each: list[dict[str, Tensor]] = [dict(scene.named_parameters()) for scene in scenes]
    if len(each) == 1:
        each.append({name: weight.detach() for name, weight in each[0].items()})
        x = {name: torch.cat([part, part.detach()]) for name, part in x.items()}
    weights = {name: torch.stack([of_run[name] for of_run in each]) for name in each[0]}

    def one(weights: Parts, x: Parts) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = functional_call(scenes[0], dict(weights), (losses, x))
        return found

    with stacking():
        found: tuple[Tensor, ...] = vmap(one)(weights, dict(x))
    return tuple(part[: len(scenes)] for part in found)


def _stacked(rows: Sequence[Mapping[str, Tensor | None]]) -> dict[str, Tensor]:
    """The same parts of all runs in one tensor each; what none of them has is left out."""
    found = {}
    for name in rows[0]:
        parts = [part for of_run in rows if (part := of_run[name]) is not None]
        if parts:
            found[name] = torch.stack(parts)
    return found


def _drawn(noise: Noise) -> dict[str, Tensor | None]:
    return {name: getattr(noise, name) for name in NOISE}


def _noise(like: Noise | None, x: Parts) -> Noise:
    assert like is not None
    drawn: dict[str, Any] = {name: x.get(name) for name in NOISE}
    return replace(like, **drawn)


@dataclass(frozen=True)
class _Embedded:
    """Drawn words that D's first layer has seen already."""

    rows: Tensor  # (N, S, E)
    mask: Tensor | None

    def embed(self, weight: Tensor) -> Tensor:
        return self.rows


def _embedded(turn: Turn) -> Tensor | None:
    """Distributions before D, run by run: they know how not to be held whole. Hard words are looked
    up in the common pass, if they are.
    """
    words = turn.draw.words
    return None if isinstance(words, TokenWords) else words.embed(turn.discriminator.embedding)


def _turn(like: Turn, x: Parts) -> Turn:
    """A run's turn inside the common pass."""
    mask, words = x.get("mask"), x.get("words")
    seen: Any = TokenWords(x["tokens"], mask) if words is None else _Embedded(words, mask)
    draw = Draw(x["tokens"], x["hidden"], seen, like.draw.words_of)
    return replace(like, draw=draw, real=TokenWords(x["real"], x.get("real_mask")))
