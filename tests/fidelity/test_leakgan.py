"""LeakGAN: goals in blocks, of norm 1 in the worker, one reward a block for the manager, losses."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from core.types import Phase, Progress
from tests.fidelity.small import SYSTEM_CNN, norms, share, small, state
from tests.variants.system.small import stage

N, S, c = 4, 8, 4


def leakgan() -> Any:
    config = small("leakgan", *SYSTEM_CNN, f"model.length={S}", "system.completions=1")
    return state(config).players.schedule


@pytest.mark.fidelity
def test_the_embedded_goal_has_norm_1_and_stays_for_a_block() -> None:
    """CR-Gjx/LeakGAN, LeakGANModel.py: w_g = l2_normalize(real_goal x g_change), and real_goal is
    replaced after every step_size = 4 steps.
    """
    system = leakgan()
    G, k = system.generator, system.config.goal
    assert system.config.horizon == c
    hidden = G.states(torch.randint(4, 12, (N, S))).hidden
    w = hidden.view(N, S, -1, k)[:, :, -1]  # [o; 1] times w: its last row is w
    assert torch.allclose(w.norm(dim=-1), torch.ones(N, S), atol=1e-5)
    assert torch.allclose(w[:, :c], w[:, :1].expand(-1, c, -1), atol=1e-6)
    assert torch.allclose(w[:, c:], w[:, c : c + 1].expand(-1, c, -1), atol=1e-6)
    assert not torch.allclose(w[:, 0], w[:, c])


@pytest.mark.fidelity
def test_the_manager_has_one_reward_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Main.py, get_reward: completions after 4, 8, ... tokens; (S / 4) rewards a sentence."""
    system, seen = leakgan(), []
    ranked = system.ranked

    def watched(values: Tensor) -> Tensor:
        seen.append(values)
        return ranked(values)

    monkeypatch.setattr(system, "ranked", watched)
    context = stage(system, torch.randint(4, 12, (N, S)))
    system.generator_loss(context)
    assert seen[0].shape == (N, S // c)
    states = system.generator.states(torch.randint(4, 12, (N, S)))
    assert system.transitions(states, torch.ones(N, S, dtype=torch.bool)).shape == (N, S // c)


@pytest.mark.fidelity
def test_d_has_neither_dropout_nor_l2() -> None:
    """Main.py: dis_dropout_keep_prob 1.0; dis_l2_reg_lambda .2 is not passed to the discriminator,
    whose default is 0.
    """
    system = leakgan()
    assert system.discriminator.dropout.rate == 0
    assert system.discriminator.out.decay == 0


@pytest.mark.fidelity
def test_d_is_pretrained_before_g_in_ten_rounds_and_likelihood_comes_back_every_15() -> None:
    """No Temperature, Synthetic Data/Main.py: ten times 15 epochs of D, then 8 of G. Image
    COCO/Main.py: after G's step in rounds 0, 15, ... num_batch / 15 batches of likelihood, besides
    the round's steps of G and D.
    """
    system = leakgan()
    D, G = ("discriminator", "discriminator_loss"), ("generator", "likelihood_loss")
    assert share(system, 125, 15 * 125) == {D: 15 * 125}
    assert share(system, 125, 23 * 125) == {D: 15 * 125, G: 8 * 125}
    assert share(system, 125, 230 * 125) == {D: 150 * 125, G: 80 * 125}
    steps = share(system, 125, 230 * 125 + 30)
    assert steps == {
        D: 150 * 125 + 30 * 5, G: 80 * 125 + 2 * 8, ("generator", "generator_loss"): 30
    }  # fmt: skip
    (*_, before, last) = system.phases(Progress(230 * 125 + 15, {}, 125))
    assert (before.loss.__name__, last.loss.__name__) == ("generator_loss", "likelihood_loss")


@pytest.mark.fidelity
def test_ranks_reward_the_manager_and_cosines_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """LeakGANModel.py, goal_loss and worker_loss; Main.py, redistribution: a rank by a sigmoid of
    steepness 16. Rank and cosine of each block and token, not of the batch, are declared.
    """
    system, tokens = leakgan(), torch.randint(4, 12, (N, S))
    Q = torch.rand(N, S // c)
    monkeypatch.setattr(system, "sample", lambda context: SimpleNamespace(tokens=tokens))
    monkeypatch.setattr(system, "mc_q_values", lambda *args, **kwargs: Q)
    with torch.no_grad():
        loss = float(system.generator_loss(stage(system, tokens)))
        states = system.generator.states(tokens)
        log_p = system.generator.head(states.hidden).log_softmax(-1)
    f, manager, worker = states.features, [], []
    for n, b in itertools.product(range(N), range(S // c)):
        rank, goal = 1 + int((Q[:, b] > Q[n, b]).sum()), states.goals[n, b]
        weight = torch.tensor(16 * (0.5 - rank / N)).sigmoid()
        manager.append(weight * cosine_similarity(f[n, c * b + c] - f[n, c * b], goal, dim=0))
        for t in range(c * b, c * b + c):
            reward = cosine_similarity(f[n, t + 1] - f[n, c * b], goal, dim=0)
            worker.append(reward * log_p[n, t, tokens[n, t]])
    expected = -torch.stack(manager).mean() - torch.stack(worker).mean()
    assert loss == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


@pytest.mark.fidelity
def test_gradients_of_g_are_clipped_at_5_and_those_of_d_are_not() -> None:
    """LeakGANModel.py: grad_clip 5.0 in every one of its optimisers, of losses that are means;
    Discriminator.py: no clip. One clip for manager and worker is declared.
    """
    for loss in ("likelihood_loss", "generator_loss"):
        run = state(small("leakgan", *SYSTEM_CNN, "system.completions=1"))
        before, after = norms(run, Phase("generator", getattr(run.players.schedule, loss)))
        assert before > 5
        assert after == pytest.approx(5.0, rel=1e-4)
    run = state(small("leakgan", *SYSTEM_CNN))
    loss_of_d = run.players.schedule.discriminator_loss  # type: ignore[attr-defined]
    before, after = norms(run, Phase("discriminator", loss_of_d))
    assert after == pytest.approx(before, rel=1e-4)
