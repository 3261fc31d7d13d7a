"""Rollouts as CUDA graphs: what can be known of them on a CPU, and on a GPU that they are equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.interfaces import Generator, SamplingSpec
from core.kernels.torch import TORCH
from core.nn.gumbel import DrawnSeeds, gumbel_noise
from core.seeding import generator as stream
from core.training import cuda_graphs as graphs
from core.training.cuda_graphs import Drawn, Graphs, Rollout
from core.training.players import as_module, build, build_generator
from core.training.rollout import _rollout, sample, sample_with_grad
from tests.conftest import tiny
from variants import registry

N, V = 4, 11
CPU = torch.device("cpu")
NO_GPU = "needs a GPU: torch.cuda.is_available() is False"
SAMPLINGS = ("detached", "categorical", "gumbel_softmax", "straight_through_gumbel")


def made(
    sampling: str, device: torch.device = CPU, kernels: str = "auto"
) -> tuple[Generator, SamplingSpec]:
    own = (
        ("estimator.name=leave_one_out", "objective.name=hinge")
        if sampling == "categorical"
        else ()
    )
    config = tiny(
        f"sampling.name={sampling}", *own, "model.mask_after_eos=true", f"kernels={kernels}"
    )
    players = build(config, registry(), V, device)
    return players.generator, players.sampling_at(config, 0.0)


def again(rollout: Rollout) -> tuple[Drawn, Callable[[], None]]:
    """What a captured graph does, by rolling out again: it reads and writes where it did."""
    drawn = rollout()

    def replay() -> None:
        for place, new in zip(drawn, rollout(), strict=True):
            place.copy_(new)

    return drawn, replay


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_what_a_graph_reads_and_writes_is_what_the_steps_do(
    monkeypatch: pytest.MonkeyPatch, sampling: str
) -> None:
    monkeypatch.setattr(graphs, "capture", again)
    monkeypatch.setattr(graphs, "obstacle", lambda *_: None)
    equal(*made(sampling, kernels="torch"))  # as on a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_captured_rollout_is_the_one_step_by_step(sampling: str) -> None:
    equal(*made(sampling, torch.device("cuda")))


def equal(generator: Generator, drawing: SamplingSpec) -> None:
    """Draws with other noise, other weights and another size, with a graph and without."""
    device, rollout = generator.head.weight.device, Graphs()
    kept = []
    for turn, count in enumerate((N, N, 2 * N, N)):
        found = []
        for way in (None, rollout):
            rng = stream(turn, "noise", device)
            draw = sample(generator, replace(drawing, rollout=way), count, rng, 2)
            found.append(draw)
        plain, ours = found
        mask = plain.d_input.mask
        assert mask is not None
        assert torch.equal(mask, ours.d_input.mask)
        assert torch.equal(plain.tokens[mask], ours.tokens[mask])
        torch.testing.assert_close(plain.hidden[mask], ours.hidden[mask], rtol=1e-4, atol=1e-5)
        kept.append((plain, ours))
        with torch.no_grad():
            for weight in as_module(generator).parameters():
                weight.add_(0.01 * torch.ones_like(weight))
    for plain, ours in kept:  # later replays have not written over what was given out
        assert torch.equal(plain.tokens[plain.d_input.mask], ours.tokens[plain.d_input.mask])
    assert len(rollout._captured) == 2
    rng = stream(9, "noise", device)
    with_gradient = sample_with_grad(generator, replace(drawing, rollout=rollout), N, rng)
    assert with_gradient.hidden.requires_grad


def test_laid_noise_is_the_noise_of_its_seeds() -> None:
    like = torch.empty(N, V)
    laid = DrawnSeeds((3, 4), torch.stack([gumbel_noise(TORCH, (3, 4), t, like) for t in range(2)]))
    assert tuple(laid) == (3, 4)
    expected = gumbel_noise(TORCH, (3, 4), 1, like)
    assert torch.equal(gumbel_noise(TORCH, laid, 1, like), expected)


def test_no_more_graphs_are_kept_than_a_run_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "capture", again)
    monkeypatch.setattr(graphs, "obstacle", lambda *_: None)
    generator, drawing = made("detached")
    rollout = Graphs()
    for count in range(1, graphs.KEPT + 3):
        noise = generator.draw_noise(count, stream(0, "noise"))
        rollout(generator, drawing, noise, ())
    assert [graph.noise.count for graph in rollout._captured.values()] == [3, 4, 5, 6]


def test_without_a_gpu_it_says_once_that_it_walks_step_by_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    generator, drawing = made("detached")
    noise, rollout = generator.draw_noise(N, stream(0, "noise")), Graphs()
    plain = _rollout(generator, drawing, noise, ())
    for _ in range(2):
        for a, b in zip(plain, rollout(generator, drawing, noise, ()), strict=True):
            assert torch.equal(a, b)
    (record,) = caplog.records
    assert record.getMessage() == (
        "train.rollout = 'graph': there is no GPU; tokens are drawn step by step"
    )


@pytest.mark.parametrize(("settings", "words"), [
    (("generator.name=lstm",), "LSTMGenerator draws random numbers or reads values in its rollout"),
    (("generator.attention=full",), "generator.attention = 'full' draws noise at every step"),
    (("sampling.name=gumbel_softmax", "sampling.feedback=soft"), "a mixture that is fed back"),
    (("sampling.name=gumbel_softmax",), "Gumbel noise of 8 sentences has more than 10 numbers"),
])  # fmt: skip
def test_what_cannot_be_a_graph_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], words: str
) -> None:
    config = tiny(*settings)
    generator = build_generator(config, registry(), V)
    drawing = build(config, registry(), V, CPU).sampling_at(config, 0.0)
    noise = generator.draw_noise(8, stream(0, "noise"))
    monkeypatch.setattr(graphs, "LARGEST", 10)

    found = graphs.obstacle(generator, drawing, noise, (1,))
    assert found is not None
    assert found.startswith(words)
