"""Estimators train, resume and are cut into micro-batches; ranks and kernels are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.config import Config
from core.nn.discriminator_input import HardTokens
from core.seeding import generator as stream
from core.tracking.memory import MemoryTracker
from core.training.generator_batch import GeneratorBatch
from core.training.players import _length, as_module, build
from core.training.rollout import sample_with_grad
from core.types import Phase
from experiments.single_run.run import run
from tests.conftest import tiny
from tests.core.test_steps import Batches, N, V, after
from variants import registry
from variants.estimator import taylor
from variants.estimator.taylor import Kernel
from variants.objective.rank import log_ranks

GAME = [Phase("discriminator", "adversarial"), Phase("generator", "adversarial")]
CNN = ("discriminator.name=cnn", "discriminator.width=8", "discriminator.kernels=[1, 2]",
       "discriminator.filters=[8, 8]", "discriminator.dropout=0.0")  # fmt: skip
LSTM = ("discriminator.name=lstm", "discriminator.width=8", "discriminator.hidden=8",
        "discriminator.dropout=0.0")  # fmt: skip
SETTINGS = {
    "reinforce": LSTM,
    "leave_one_out": CNN,
    "cold": (*CNN, "estimator.epsilon=0.5"),
    "dense_reinforce": LSTM,
    "rollout": (*CNN, "estimator.completions=2"),
    "maligan": (*CNN, "objective.name=minimax"),
    "rank": (*CNN, "estimator.completions=2", "estimator.references=4", "objective.name=rank"),
    "taylor": CNN,
}


def scored(name: str, *overrides: str) -> Config:
    return tiny(
        "generator.name=lstm",
        "generator.width=8",
        "next_input.name=last_token",
        "noise_mapping.name=none",
        "sampling.name=categorical",
        "objective.name=minimax",
        "penalty.name=none",
        "model.mask_after_eos=true",
        f"train.batch_size={N}",
        f"estimator.name={name}",
        *SETTINGS[name],
        *overrides,
    )


def test_the_plain_settings_train_together(tmp_path: Path) -> None:
    settings = ("train.updates=3", "train.entropy=0.01", "train.instance_noise=0.1")
    curriculum = (
        "train.curriculum_start=3",
        "train.curriculum_end=0.9",
        "train.discriminator_weight_decay=1e-5",
    )
    config = scored("dense_reinforce", *settings, *curriculum, "objective.label_smoothing=0.1")
    assert run(config, tracker=MemoryTracker(tmp_path)).outcome in ("ok", "collapsed")


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"rank"}))
def test_micro_batches_are_the_whole_batch(name: str) -> None:
    config = scored(name)
    found = []
    for parts in (1, 2):
        turn = make_turn(config, parts)
        estimator = registry().strategy("estimator", name)(config.estimator)
        prepared = estimator.prepare(turn)
        losses = [estimator.loss(turn, prepared)]
        if parts == 2:
            assert turn.draw.recompute is not None
            halves = [slice(0, N // 2), slice(N // 2, N)]
            turns = turn.split(map(turn.draw.recompute, halves), halves)
            losses = [
                estimator.loss(part, [tensor[half] for tensor in prepared])
                for part, half in zip(turns, halves, strict=True)
            ]
        loss = torch.stack(losses).mean()
        parameters = list(as_module(turn.generator).parameters())
        found.append((loss, *torch.autograd.grad(loss, parameters, allow_unused=True)))
    assert any(part is not None and part.abs().sum() > 0 for part in found[0][1:])
    for whole, part in zip(*found, strict=True):
        assert (whole is None) == (part is None)
        assert whole is None or torch.allclose(whole, part, atol=1e-6, rtol=1e-4)


def make_turn(config: Config, parts: int) -> GeneratorBatch:
    """The same draw of fresh players, however many parts it is to be cut into."""
    players = build(config, registry(), V, torch.device("cpu"))
    spec, opponent = players.sampling_at(config, 0.0), players.adversary
    assert opponent is not None
    draw = sample_with_grad(players.generator, spec, N, stream(0, "noise"), 2)
    if parts == 1:
        assert draw.recompute is not None
        draw = replace(draw.recompute(slice(0, N)), noise=draw.noise)
    real = Batches().batch(0)
    return GeneratorBatch(
        draw,
        HardTokens(real, spec.mask(real)),
        players.generator,
        spec,
        opponent.discriminator,
        opponent.objective,
        stream(0, "estimator"),
        parts,
    )


def test_a_part_of_a_draw_has_the_dropout_of_the_whole() -> None:
    config = scored("leave_one_out", "generator.dropout=0.5", "model.mask_after_eos=false")
    players = build(config, registry(), V, torch.device("cpu"))
    spec = players.sampling_at(config, 0.0)
    draw = sample_with_grad(players.generator, spec, N, stream(0, "noise"), 2)
    assert draw.recompute is not None
    for rows in (slice(0, N // 2), slice(N // 2, N)):
        assert torch.allclose(draw.recompute(rows).hidden, draw.hidden[rows], atol=1e-6)


def test_all_words_trains_with_instance_noise() -> None:
    own = ("discriminator.name=projection", "discriminator.width=8", "discriminator.hidden=8")
    config = scored("reinforce", "estimator.name=all_words", *own, "train.instance_noise=0.5")
    gradients, _ = after(config, GAME)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())


def test_completions_are_scored_one_micro_batch_at_a_time() -> None:
    found, most = [], []
    for parts in (1, 2):
        turn = make_turn(scored("rollout"), parts)
        seen: list[int] = []
        score = turn.discriminator.score

        def watched(
            embedded: torch.Tensor,
            mask: torch.Tensor | None,
            seen: list[int] = seen,
            score: Any = score,
        ) -> torch.Tensor:
            seen.append(len(embedded))
            return score(embedded, mask)  # type: ignore[no-any-return]

        turn.discriminator.score = watched  # type: ignore[method-assign]
        found.append(turn.mc_q_values(3))
        most.append(max(seen))
    assert most == [3 * N, N // 2]
    assert torch.allclose(*found, atol=1e-6)


def test_ranks_are_shares_of_preference() -> None:
    torch.manual_seed(0)
    s, u, c = (torch.randn(n, 4, dtype=torch.float64) for n in (3, 5, 6))
    cosine = torch.nn.functional.cosine_similarity
    gamma = 2.0
    for i, found in enumerate(log_ranks(s, u, c, gamma)):
        preferences = []
        for reference in u:
            ours = (gamma * cosine(s[i], reference, dim=0)).exp()
            theirs = sum((gamma * cosine(other, reference, dim=0)).exp() for other in c)
            preferences.append(ours / (ours + theirs))
        rank = torch.stack(preferences).mean()
        assert torch.allclose(found.exp(), rank, atol=1e-10)
    # Among itself: every sentence by the others.
    alone = log_ranks(u, u, c, gamma)
    apart = [log_ranks(u[i : i + 1], torch.cat([u[:i], u[i + 1 :]]), c, gamma)[0] for i in range(5)]
    assert torch.allclose(alone, torch.stack(apart), atol=1e-10)


def test_a_kernel_in_columns_is_the_whole_one() -> None:
    torch.manual_seed(0)
    table, p = torch.randn(7, 3, dtype=torch.float64), torch.rand(2, 7, dtype=torch.float64)
    whole, columns = Kernel(table, 0.5), Kernel(table, 0.5)
    columns.whole, columns.columns = None, 3
    plain = (-((table[:, None] - table) ** 2).sum(-1) / (2 * 0.5**2)).exp()
    words = torch.tensor([4, 0])
    for kernel in (whole, columns):
        assert torch.allclose(kernel.smooth(p), p @ plain, atol=1e-6)
        assert torch.allclose(kernel.rows(words), plain[words], atol=1e-6)


def test_all_steps_smoothed_at_once_are_each_smoothed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once, values = after(scored("taylor"), GAME)
    monkeypatch.setattr(taylor, "HELD", 0)
    alone, same_values = after(scored("taylor"), GAME)
    assert at_once.keys() == alone.keys()
    for key, gradient in alone.items():
        assert torch.allclose(at_once[key], gradient, atol=1e-10), key
    assert values == pytest.approx(same_values, rel=1e-10)


def test_instance_noise_reaches_both_players_and_ends() -> None:
    still = ("train.generator_lr=1e-9", "train.discriminator_lr=1e-9")
    blurred, _ = after(scored("leave_one_out", *still, "train.instance_noise=0.5"), GAME)
    sharp, _ = after(scored("leave_one_out", *still), GAME)
    for player in ("generator", "discriminator"):
        keys = [key for key in sharp if key.startswith(player)]
        assert any(not torch.allclose(blurred[key], sharp[key]) for key in keys)


def test_sentences_grow() -> None:
    config = scored("reinforce", "train.curriculum_start=2", "train.curriculum_end=0.5")
    assert [_length(config, p) for p in (0.0, 0.25, 0.5, 1.0)] == [2, 5, 8, 8]
    assert _length(scored("reinforce"), 0.0) == 8
