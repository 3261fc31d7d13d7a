"""Lower precision and torch's compiler: the same model, to the tolerance that either has."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from core.config import Config
from core.nn.layers import Block, feed
from core.nn.precision import set_matmul_precision
from core.seeding import generator as stream
from core.training.loop import train_phase
from core.training.players import as_module, build
from core.training.rollout import unroll
from core.training.scoring import double_backward
from core.training.state import TrainingState
from core.types import Phase
from tests.conftest import tiny
from tests.core.test_steps import Batches, N, S, V, gradients_of
from variants import registry

CPU = torch.device("cpu")
WIDE = ("generator.width=16", "discriminator.width=16", f"train.batch_size={N}",
        f"model.length={S}", "model.mask_after_eos=true")  # fmt: skip


def gradients(config: Config) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Of a step of each player, by weight, and what was logged."""
    torch.set_num_threads(1)
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
    for player in ("discriminator", "generator"):
        train_phase(state, Phase(player, "adversarial"))
    return gradients_of(players), state.metrics


def near(ours: torch.Tensor, exact: torch.Tensor, tolerance: float) -> bool:
    return float((ours - exact).norm()) <= tolerance * float(exact.norm()) + 1e-6


def test_bf16_moves_both_players_nearly_as_float32_does() -> None:
    exact, values = gradients(tiny(*WIDE))
    ours, same_values = gradients(tiny(*WIDE, "precision=bf16"))
    assert ours.keys() == exact.keys()
    assert all(grad.dtype == torch.float32 for grad in ours.values())
    whole = [torch.cat([grad.flatten() for grad in each.values()]) for each in (ours, exact)]
    assert not torch.equal(*whole)
    assert near(*whole, 0.05)
    assert same_values == pytest.approx(values, rel=0.05, abs=0.02)


def test_in_bf16_the_penalty_and_the_words_are_those_of_float32() -> None:
    found = []
    for settings in ((), ("precision=bf16",)):
        config = tiny(*WIDE, *settings)
        players = build(config, registry(), V, CPU)
        assert players.adversary is not None
        D = players.adversary.discriminator
        x = torch.randn(N, S, D.embedding.shape[1], generator=stream(0, "x"))
        with double_backward(D):
            in_float32 = D.score(x, None)
        spec = players.sampling_at(config, 0.0)
        noise = players.generator.draw_noise(N, stream(0, "noise"))
        drawn = unroll(players.generator, spec, noise, (1,), differentiable=False)
        found.append((in_float32, *drawn, D.score(x, None)))
    for ours, exact in list(zip(*found, strict=True))[:-1]:
        assert torch.equal(ours, exact)
    assert not torch.equal(found[0][-1], found[1][-1])


def test_every_block_of_a_system_is_lowered_where_asked() -> None:
    players = build(tiny("precision=bf16", "train.ema=0.9"), registry(), V, CPU)
    blocks = [b for _, m in players.modules() for b in m.modules() if isinstance(b, Block)]
    assert len({name for name, _ in players.modules()}) == 3
    assert blocks
    assert all(block.autocast for block in blocks)
    assert not any(
        block.autocast or block.compiled
        for _, module in build(tiny(), registry(), V, CPU).modules()
        for block in as_module(module).modules()
        if isinstance(block, Block)
    )


def test_a_cpu_is_left_as_it_is() -> None:
    before = torch.get_float32_matmul_precision()
    set_matmul_precision("bf16", CPU)
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to have TF32 products")
def test_a_gpu_takes_the_products_that_it_is_told_to() -> None:
    for precision, words in (("tf32", "high"), ("float32", "highest")):
        set_matmul_precision(precision, torch.device("cuda"))  # type: ignore[arg-type]
        assert torch.get_float32_matmul_precision() == words
        assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")


def test_what_is_compiled_is_the_feed_forward_half_of_a_block() -> None:
    torch.manual_seed(0)
    block = Block(8, 16, 2).double()
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    enter, _, leave = block.feed_forward
    norm = block.feed_forward_norm
    affine = [t for part in (enter, leave, norm) for t in (part.weight, part.bias)]
    ours, plain = feed(x, *affine, norm.eps), block._feed(x)
    assert torch.allclose(ours, plain, atol=1e-12)
    wanted = [x, *affine]
    for a, b in zip(
        *(torch.autograd.grad(y.square().sum(), wanted) for y in (ours, plain)), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-10)


def test_compiled_layers_move_both_players_as_the_plain_ones_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traced with its shapes, and without the compiler of C++: a minute, for graphs of one kind."""
    traced = torch.compile(feed, backend="aot_eager")
    monkeypatch.setattr("core.nn.layers._compiled", lambda: traced)
    exact, values = gradients(tiny(*WIDE))
    ours, same_values = gradients(tiny(*WIDE, "train.compile=true"))
    for key, value in exact.items():
        assert near(ours[key], value, 1e-3), key
    assert same_values == pytest.approx(values, rel=1e-3, abs=1e-5)


@pytest.mark.skipif(
    "TEXTGAN_COMPILE" not in os.environ or shutil.which("g++") is None,
    reason="set TEXTGAN_COMPILE=1, with a C++ compiler at hand: half a minute of its work",
)
def test_a_compiled_layer_is_the_plain_one() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 16, 2), torch.randn(2, 3, 8, requires_grad=True)
    weights = [x, *block.feed_forward.parameters(), *block.feed_forward_norm.parameters()]
    plain = block._feed(x)
    block.compiled = True
    ours = block._feed(x)
    assert torch.allclose(ours, plain, atol=1e-6)
    for a, b in zip(
        *(torch.autograd.grad(y.square().sum(), weights) for y in (ours, plain)), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-5)
