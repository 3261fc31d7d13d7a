"""LeakGAN, against plain definitions."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cosine_similarity, normalize

from core.seeding import generator as stream
from core.training.players import build
from core.types import Progress, visible
from tests.variants.system.small import CPU, N, S, V, made, sentences, stage, whole
from variants import registry


def test_a_leaking_generators_one_pass_equals_its_steps() -> None:
    system = made("leakgan")
    G, tokens = system.generator, sentences()
    noise = G.draw_noise(N, stream(0, "noise"))
    state, rows = G.begin(noise, False), torch.tensor([3, 3, 1])
    hidden = [G.step(state, None)]
    for t in range(S - 1):
        if t == 4:
            fork = G.fork(state, rows)
        hidden.append(G.step(state, G.embed(tokens[:, t])))
    plain, fast = torch.stack(hidden, dim=1), G.parallel(tokens, noise)
    assert torch.allclose(plain, fast, atol=1e-10)
    weights = [p for n, p in G.named_parameters() if n.split(".")[0] in ("worker", "project")]
    loss = torch.randn(plain.shape, generator=stream(0, "loss"), dtype=plain.dtype)
    ours = torch.autograd.grad((fast * loss).sum(), weights)
    theirs = torch.autograd.grad((plain * loss).sum(), weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    for t in range(4, S - 1):
        there = G.step(fork, G.embed(tokens[rows, t]))
    assert torch.allclose(there, fast[rows, S - 1], atol=1e-10)


def test_the_leaking_head_is_the_papers_action_embeddings_times_the_goal() -> None:
    system = made("leakgan")
    G, tokens = system.generator, sentences()
    states, c, H, k = G.states(tokens), 3, 5, 3
    words = torch.cat([G.start.expand(N, 1, -1), G.embedding(tokens[:, :-1])], dim=1)
    o = G.worker(words)[0][:, 7]
    goals = normalize(G.goal(G.manager(states.features[:, :S])[0]), dim=-1)
    goal = goals[:, 3] + goals[:, 4] + goals[:, 5]  # of steps 6 and 7
    assert torch.allclose(states.goals[:, 2], goal)
    assert torch.allclose(states.goals[:, 0], G.first_goals.sum(0))
    assert states.goals.shape[1] == -(-S // c)
    actions = (G.head.weight.view(V, H + 1, k) * torch.cat(
        [o, torch.ones(N, 1, dtype=o.dtype)], dim=1)[:, None, :, None]).sum(2)  # fmt: skip
    expected = torch.einsum("nvk,nk->nv", actions, normalize(G.project(goal), dim=-1))
    assert torch.allclose(G.head(states.hidden[:, 7]), expected, atol=1e-10)


def test_leaked_rewards_equal_their_definitions() -> None:
    system, tokens = made("leakgan"), sentences()
    tokens[0, 4] = 2  # ends in the second block
    mask = visible(tokens)
    states = system.generator.states(tokens)
    f, goals, c = states.features, states.goals, 3
    moved, rewards = system.transitions(states, mask), system.intrinsic_rewards(states)
    for n in range(N):
        for t in range(int(mask[n].sum())):
            b, start = t // c, t - t % c
            end = min(start + c, int(mask[n].sum()))
            there = cosine_similarity(f[n, end] - f[n, start], goals[n, b], dim=-1)
            assert torch.allclose(moved[n, b], there)
            here = cosine_similarity(f[n, t + 1] - f[n, start], goals[n, b], dim=-1)
            assert torch.allclose(rewards[n, t], here)
    ranked = system.ranked(torch.tensor([[0.1], [0.9], [0.5]]))
    assert ranked.flatten().argsort().tolist() == [0, 2, 1]
    assert ((ranked > 0) & (ranked < 1)).all()


def test_manager_and_worker_have_losses_of_their_own() -> None:
    system = made("leakgan")
    G = system.generator
    here = stage(system, sentences())
    here.metrics.clear()
    system.generator_loss(here).backward()
    moved = {n.split(".")[0] for n, p in G.named_parameters() if p.grad is not None}
    assert moved == {"manager", "goal", "worker", "project", "embedding", "start", "head"}
    assert all(p.grad is None for p in system.discriminator.parameters())
    states = G.states(sentences())
    nothing = torch.autograd.grad(
        states.hidden.sum(), list(G.manager.parameters()), allow_unused=True
    )
    assert nothing == (None,) * len(nothing)  # the worker sends nothing to the goals


def test_d_does_not_move_with_the_generator_that_saves_it() -> None:
    players = build(whole("leakgan"), registry(), V, CPU)
    D = players.trainable["discriminator"].module
    before = [p.clone() for p in D.parameters()]
    for p in D.parameters():
        p.grad = torch.ones_like(p)  # left from its own last step
    players.trainable["generator"].optimiser.zero_grad(set_to_none=True)
    system: Any = players.schedule
    system.generator_loss(stage(system, sentences())).backward()
    players.trainable["generator"].optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(before, D.parameters(), strict=True))


def test_leakgans_phases() -> None:
    system = made("leakgan")
    names = [
        [(p.player, p.loss.__name__) for p in system.phases(Progress(update, {}))]
        for update in range(5)
    ]
    imitation = [("generator", "likelihood_loss"), ("discriminator", "discriminator_loss")]
    game = [("discriminator", "discriminator_loss"), ("generator", "generator_loss")]
    assert names == [imitation, imitation, game, imitation[:1], game]
