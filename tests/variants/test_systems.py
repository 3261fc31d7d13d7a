"""Whole systems: their parts against plain definitions, and as runs like any other."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from core.config import Config, parse, read_toml
from core.errors import InputError
from core.nn.discrepancy import squared_mmd
from core.nn.gumbel import gumbel
from core.players import as_module, build, build_system
from core.protocols import Progress, Stage
from core.rollout import Drawing, completions, draw_words
from core.seeding import Streams
from core.seeding import generator as stream
from core.tracking.null import MemoryTracker
from experiments.generate import load_generator
from experiments.loading import SYSTEMS
from experiments.runner import run
from tests.conftest import tiny
from variants import registry

V, N, S = 13, 5, 8
CPU = torch.device("cpu")
SMALL: dict[str, dict[str, Any]] = {
    "cot": {"width": 6, "mediator_width": 8},
    "dpgan": {"width": 6, "discriminator_width": 5, "generator_updates": 2, "gamma": 0.5,
              "discriminator_updates": 1, "n_d": 2},
    "leakgan": {"width": 6, "hidden": 5, "goal": 3, "horizon": 3, "completions": 2, "n_d": 1,
                "kernels": [2, 3], "filters": [4, 5], "generator_updates": 2, "interleave": 2},
    "sentigan": {"width": 6, "completions": 2, "n_d": 2, "kernels": [2, 3], "filters": [4, 5],
                 "dropout": 0.0, "generator_updates": 2, "discriminator_updates": 1},
    "jsdgan": {"width": 6, "generator_updates": 2},
    "textgan_mmd": {"width": 6, "discriminator_width": 5, "kernels": [2, 3], "filters": [4, 5],
                    "autoencoder_updates": 2, "n_g": 2, "reconstruction": 0.5,
                    "discrepancy": 2.0},
    "catgan": {"width": 4, "heads": 1, "head_size": 4, "discriminator_width": 4,
               "representations": 2, "kernels": [2, 3], "filters": [4, 5], "dropout": 0.0,
               "generator_updates": 2, "n_d": 2, "temperature_step": 0.2, "diversity": 0.5},
}  # fmt: skip


def whole(name: str, **train: Any) -> Config:
    tables = tiny().tables()
    kept = {key: tables[key] for key in ("corpus", "model", "train", "evaluation")}
    kept["train"] |= {"log_every": 1, "checkpoint_every": 2, **train}
    return parse({**kept, "name": name, "system": {"name": name, **SMALL[name]}}, registry())


def made(name: str, vocabulary: int = V) -> Any:
    system = build_system(whole(name), registry(), vocabulary)
    as_module(system.generator).double()
    for other in system.others.values():
        other.double()
    return system


def stage(system: Any, tokens: torch.Tensor) -> Stage:
    drawing = Drawing(system.sampling)
    return Stage(
        len(tokens), CPU, drawing, lambda: tokens, Streams(0, CPU).__getitem__, {}, len(tokens)
    )


def sentences(seed: int = 0) -> torch.Tensor:
    return torch.randint(4, V, (N, S), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SMALL)
def test_a_whole_system_is_a_run_like_any_other(tmp_path: Path, name: str) -> None:
    """Trained, evaluated, recorded, resumed bit for bit, and loaded again as a model."""
    config = whole(name, updates=7, ema=0.5)
    unbroken, broken = (MemoryTracker(tmp_path / world) for world in ("whole", "broken"))
    expected = run(config, tracker=unbroken)
    assert expected.updates == 7

    class Killed(BaseException):
        pass

    def die(step: int, _: int | None, values: object) -> None:
        if step == 5 and "train/generator_loss" in values:  # type: ignore[operator]
            raise Killed

    ids: list[str] = []
    with pytest.raises(Killed):
        run(config, tracker=broken, report=die, started=ids.append)
    resumed = run(None, tracker=broken, resume=ids[0])
    assert resumed.metrics == expected.metrics
    writers = [
        load_generator(tracker.model(result.run_id))
        for tracker, result in ((unbroken, expected), (broken, resumed))
    ]
    texts = [writer.sample(5, seed=1) for writer in writers]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", SMALL)
def test_its_file_says_the_same_again(name: str, tmp_path: Path) -> None:
    config = parse(read_toml(SYSTEMS / f"{name}.toml"), registry())
    (tmp_path / "again.toml").write_text(config.toml())
    assert parse(read_toml(tmp_path / "again.toml"), registry()) == config
    assert json.loads(json.dumps(config.flat()))["system.name"] == name


def test_slots_beside_a_whole_system_are_refused() -> None:
    tables = whole("cot").tables()
    with pytest.raises(InputError, match=r"'cot' is a whole system, so \[sampling\] has no"):
        parse({**tables, "sampling": {"name": "categorical"}}, registry())
    tables["train"]["entropy"] = 0.1
    with pytest.raises(InputError, match=r"so train.entropy has no meaning"):
        parse(tables, registry())
    with pytest.raises(InputError, match=r"\[generator\] is missing"):
        parse({}, registry())


def test_cot_descends_the_sum_over_all_words_at_each_drawn_prefix() -> None:
    system = made("cot")
    here = stage(system, sentences())
    value = system.cooperate(here)
    draw = draw_words(system.generator, here.drawing, N, Streams(0, CPU)["noise"])
    G = system.generator.logits(system.generator.parallel(draw.tokens, draw.noise))
    M = system.mediator.logits(system.mediator.parallel(draw.tokens, draw.noise))
    log_g, log_m = G.log_softmax(-1), M.log_softmax(-1).detach()
    ended = (draw.tokens == 2).cumsum(1) - (draw.tokens == 2).long() > 0
    nats = (log_g.exp() * (log_g - log_m)).sum(-1).masked_fill(ended, 0)
    assert torch.allclose(value, nats.sum(1).mean(), atol=1e-10)
    weights = list(system.generator.parameters())
    ours = torch.autograd.grad(value, weights)
    theirs = torch.autograd.grad(nats.sum(1).mean(), weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert all(p.grad is None for p in system.mediator.parameters())


def test_the_mediator_learns_both_kinds_of_text() -> None:
    system = made("cot")
    real = sentences()
    here = stage(system, real)
    value = system.mediate(here)
    mean = (here.values["train/mediator_real_nats"] + here.values["train/mediator_drawn_nats"]) / 2
    assert float(value.detach()) == pytest.approx(mean)
    logits = system.mediator.logits(system.mediator.parallel(real, system.mediator.draw_noise(
        N, stream(0, "x"))))  # fmt: skip
    nats = -logits.log_softmax(-1).gather(2, real.unsqueeze(-1)).sum() / N
    assert here.values["train/mediator_real_nats"] == pytest.approx(float(nats.detach()))


def test_dpgan_rewards_what_surprises() -> None:
    system = made("dpgan")
    rewards = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    shown = torch.tensor([[True, True, True], [True, True, False]])
    Q = system._values(rewards, shown)
    expected = torch.tensor([[2.75 * 2, 3.5 * 2, 3.0 * 2], [6.5 * 4.5, 5.0 * 4.5, 0.0]])
    assert torch.allclose(Q, expected)


def test_dpgans_losses_are_the_language_models() -> None:
    system, real = made("dpgan"), sentences()
    here = stage(system, real)
    value = system.judge(here)
    D = system.discriminator
    drawn = draw_words(system.generator, here.drawing, N, Streams(0, CPU)["noise"]).tokens
    ended = (drawn == 2).cumsum(1) - (drawn == 2).long() > 0

    def surprise(tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        log_p = D.logits(D.parallel(tokens, D.draw_noise(N, stream(0, "x")))).log_softmax(-1)
        nats = -log_p.gather(2, tokens.unsqueeze(-1)).squeeze(-1).masked_fill(hidden, 0)
        return (nats.sum(1) / (~hidden).sum(1)).mean()

    drawn_padded = drawn.masked_fill(ended, 0)
    skipped = ended | (drawn == 0)  # padding that was drawn is no word either
    expected = surprise(drawn_padded, skipped) - surprise(real, torch.zeros_like(ended))
    assert torch.allclose(value, expected, atol=1e-10)
    system.surprise(here).backward()
    assert all(p.grad is None for p in D.parameters())


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
    walk, c, H, k = G.walk(tokens), 3, 5, 3
    words = torch.cat([G.start.expand(N, 1, -1), G.embedding(tokens[:, :-1])], dim=1)
    o = G.worker(words)[0][:, 6]
    before = [G.first_goals[i].expand(N, -1) for i in range(c)] + list(walk.goals.unbind(1))
    w = G.project(before[6] + before[7] + before[8])  # g_3, g_4, g_5
    actions = (G.head.weight.view(V, H + 1, k) * torch.cat(
        [o, torch.ones(N, 1, dtype=o.dtype)], dim=1)[:, None, :, None]).sum(2)  # fmt: skip
    expected = torch.einsum("nvk,nk->nv", actions, w)
    assert torch.allclose(G.logits(walk.hidden[:, 6]), expected, atol=1e-10)


def test_leaked_rewards_equal_their_definitions() -> None:
    system = made("leakgan")
    walk = system.generator.walk(sentences())
    f, g, c = walk.features, walk.goals, 3
    for t in range(S):
        ahead = f[:, min(t + c, S)] - f[:, t]
        assert torch.allclose(
            system._transitions(walk)[:, t], cosine_similarity(ahead, g[:, t], dim=-1)
        )
        s = t + 1  # words behind the one that is rewarded, itself included
        parts = [
            cosine_similarity(f[:, s] - f[:, s - i], g[:, s - i], dim=-1)
            for i in range(1, min(c, s) + 1)
        ]
        assert torch.allclose(system._intrinsic(walk)[:, t], torch.stack(parts).mean(0))
    ranked = system._ranked(torch.tensor([[0.1], [0.9], [0.5]]))
    assert ranked.flatten().argsort().tolist() == [0, 2, 1]
    assert ((ranked > 0) & (ranked < 1)).all()


def test_manager_and_worker_have_losses_of_their_own() -> None:
    system = made("leakgan")
    G = system.generator
    here = stage(system, sentences())
    here.values.clear()
    system.pursue(here).backward()
    moved = {n.split(".")[0] for n, p in G.named_parameters() if p.grad is not None}
    assert moved == {"manager", "goal", "worker", "project", "embedding", "start", "head"}
    assert all(p.grad is None for p in system.discriminator.parameters())
    walk = G.walk(sentences())
    nothing = torch.autograd.grad(
        walk.hidden.sum(), list(G.manager.parameters()), allow_unused=True
    )
    assert nothing == (None,) * len(nothing)  # the worker sends nothing to the goals


def test_d_does_not_move_with_the_generator_that_saves_it() -> None:
    players = build(whole("leakgan"), registry(), V, CPU)
    D = players.mover("discriminator").module
    before = [p.clone() for p in D.parameters()]
    for p in D.parameters():
        p.grad = torch.ones_like(p)  # left from its own last step
    players.optimiser.zero_grad(set_to_none=True)
    system: Any = players.schedule
    system.pursue(stage(system, sentences())).backward()
    players.optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(before, D.parameters(), strict=True))


def test_leakgans_phases() -> None:
    system = made("leakgan")
    names = [
        [(p.player, p.loss.__name__) for p in system.phases(Progress(update, {}))]
        for update in range(5)
    ]
    imitation = [("generator", "imitate"), ("discriminator", "judge")]
    game = [("discriminator", "judge"), ("generator", "pursue")]
    assert names == [imitation, imitation, game, imitation[:1], game]


def test_sentigan_weighs_each_words_probability_with_its_fine() -> None:
    system = made("sentigan")
    G, D = system.generator, system.discriminator
    here = stage(system, sentences())
    value = system.avoid(here)
    streams = Streams(0, CPU)
    draw = draw_words(G, here.drawing, N, streams["noise"])
    continued = completions(G, here.drawing, draw, 2, streams["completions"])

    def fine(tokens: torch.Tensor) -> torch.Tensor:  # of one sentence
        ends = (tokens == 2).nonzero().flatten().tolist()
        x = D.embedding[tokens].clone()
        x[(ends or [S])[0] + 1 :] = 0
        return 1 - D.score(x[None], None).sigmoid()[0].detach()

    p = G.logits(G.parallel(draw.tokens, draw.noise)).softmax(-1)
    expected = torch.zeros((), dtype=p.dtype)
    for n, words in enumerate(draw.tokens):
        for t, word in enumerate(words.tolist()):
            ends = continued[t, n] if t < S - 1 else words[None]
            expected = expected + p[n, t, word] * sum(fine(x) for x in ends) / len(ends) / N
            if word == 2:
                break
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(G.parameters())
    ours, theirs = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert all(p.grad is None for p in D.parameters())


def test_sentigans_discriminator_tells_real_from_drawn() -> None:
    system, real = made("sentigan"), sentences()
    here = stage(system, real)
    value = system.judge(here)
    tokens = draw_words(system.generator, here.drawing, N, Streams(0, CPU)["noise"]).tokens
    ended = (tokens == 2).cumsum(1) - (tokens == 2).long() > 0
    D = system.discriminator
    of_real = D.score(D.embedding[real], None).sigmoid()
    of_drawn = D.score(D.embedding[tokens] * ~ended[..., None], None).sigmoid()
    expected = -of_real.log().mean() - (1 - of_drawn).log().mean()
    assert torch.allclose(value, expected, atol=1e-10)


def test_jsdgans_loss_is_the_divergence_over_all_sentences() -> None:
    """Three steps of five words, one of which ends: all sentences there are, counted."""
    words, steps = 5, 3
    system = made("jsdgan", words)
    G = system.generator
    ended = [[*x, 2] for t in range(steps) for x in itertools.product((0, 1, 3, 4), repeat=t)]
    open_ended = [list(x) for x in itertools.product((0, 1, 3, 4), repeat=steps)]
    every = ended + open_ended
    data = [[2], [3, 2], [3, 4, 2], [4, 4, 3]]

    def log_q(sentence: list[int]) -> torch.Tensor:
        tokens = torch.tensor([sentence])
        hidden = G.parallel(tokens, G.draw_noise(1, stream(0, "x")))
        log_p = G.logits(hidden).log_softmax(-1)[0]
        return log_p[range(len(sentence)), sentence].sum()

    Q = torch.stack([log_q(x) for x in every]).exp()
    P = torch.tensor([1 / len(data) if x in data else 0.0 for x in every], dtype=Q.dtype)
    assert float(Q.sum().detach()) == pytest.approx(1)
    M, held = (P + Q) / 2, P > 0
    expected = ((P[held] * (P[held] / M[held]).log()).sum() + (Q * (Q / M).log()).sum()) / 2
    real = torch.tensor([x + [0] * (steps - len(x)) for x in data])
    value = system.approach(stage(system, real))
    assert 0 < float(value.detach()) < math.log(2)
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(G.parameters())
    ours, theirs = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    D = P / (P + Q)
    factors = (Q * (1 - D).log() * held).detach() / 2
    published = torch.autograd.grad(
        (factors * torch.stack([log_q(x) for x in every])).sum(), weights
    )
    for a, b, c in zip(ours, theirs, published, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
        assert torch.allclose(a, c, atol=1e-10)


@pytest.fixture
def doubles() -> Iterator[None]:
    """What is drawn is in float64 too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def _soft(system: Any, here: Stage) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the sentences that come next, word by word from dense distributions, and z."""
    G, D = system.generator, system.discriminator
    noise = G.draw_noise(N, Streams(0, CPU)["noise"])
    state, last, seen = G.begin(noise, True), None, []
    open_ended = torch.ones(N, 1)
    for _ in range(S):
        logits = G.logits(G.step(state, last))
        p = (logits / here.drawing.temperature).softmax(-1)
        last = p @ G.embedding.weight
        seen.append(p @ D.cnn.embedding * open_ended)
        open_ended = open_ended * (logits.argmax(-1, keepdim=True) != 2)
    return D.cnn.features(torch.stack(seen, dim=1), None), noise.latent


def _softer(system: Any, real: torch.Tensor) -> Stage:
    """A stage whose soft words are not hard ones."""
    here = stage(system, real)
    return replace(here, drawing=replace(here.drawing, temperature=0.3))


def test_textgans_generator_matches_features_through_soft_words(doubles: None) -> None:
    system, real = made("textgan_mmd"), sentences()
    here = _softer(system, real)
    value = system.match(here)
    fake, _ = _soft(system, here)
    D = system.discriminator
    theirs = D.cnn.features(D.cnn.embedding[real], None).detach()
    expected = squared_mmd(fake, theirs)
    assert torch.allclose(value, expected, atol=1e-10)
    weights = [p for n, p in system.generator.named_parameters()]
    ours, plain = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    for a, b in zip(ours, plain, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert any(bool(a.abs().max() > 1e-6) for a in ours)


def test_textgans_discriminator_tells_reconstructs_and_keeps_apart(doubles: None) -> None:
    system, real = made("textgan_mmd"), sentences()
    here = _softer(system, real)
    value = system.judge(here)
    D = system.discriminator
    with torch.no_grad():
        fake, z = _soft(system, here)
        of_real = D.cnn.features(D.cnn.embedding[real], None)
        right = D.cnn.out(of_real).sigmoid().log() + (1 - D.cnn.out(fake).sigmoid()).log()
        missed = (D.latent(fake) - z).norm(dim=1) ** 2
        expected = -right.mean() + 0.5 * missed.mean() - 2 * squared_mmd(of_real, fake)
    assert torch.allclose(value, expected, atol=1e-10)


def test_textgans_autoencoder_moves_both_players(doubles: None) -> None:
    system, real = made("textgan_mmd"), sentences()
    G, D = system.generator, system.discriminator
    value = system.reconstruct(stage(system, real))
    value.backward()
    z = D.latent(D.cnn.features(D.cnn.embedding[real], None))
    noise = replace(G.draw_noise(N, stream(0, "x")), latent=z)
    state, last, nats = G.begin(noise, True), None, []
    for t in range(S):
        log_p = G.logits(G.step(state, last)).log_softmax(-1)
        nats.append(-log_p[range(N), real[:, t]])
        last = G.embed(real[:, t])
    assert torch.allclose(value, torch.stack(nats).mean(), atol=1e-10)
    assert D.latent.weight.grad is not None
    assert G.head.weight.grad is not None


def _relaxed(system: Any, G: Any, tau: float, rng: torch.Generator) -> tuple[Any, Any, Any]:
    """Tokens, D's mean scores of their dense Gumbel-softmax, and log p of each (N, S)."""
    D = system.discriminator
    noise, seeds = G.draw_noise(N, rng), system.sampling.randomness(1, rng)
    state, last, seen, words, nats = G.begin(noise, True), None, [], [], []
    open_ended = torch.ones(N, 1)
    for t in range(S):
        logits = G.logits(G.step(state, last))
        noisy = logits + gumbel(seeds, t, logits)
        seen.append((noisy / tau).softmax(-1) @ D.embedding * open_ended)
        words.append(noisy.argmax(-1))
        nats.append(-logits.log_softmax(-1)[range(N), words[-1]] * open_ended[:, 0])
        open_ended = open_ended * (words[-1] != 2)[:, None]
        last = G.embed(words[-1])
    scores = D.score(torch.stack(seen, dim=1), None).mean(1)
    return torch.stack(words, dim=1), scores, torch.stack(nats, dim=1)


@pytest.mark.parametrize("number", [1, 5])
def test_catgans_children_begin_as_their_parent_with_losses_of_their_own(
    doubles: None, number: int
) -> None:
    system, real = made("catgan"), sentences()
    here = stage(system, real)
    here = replace(here, drawing=replace(here.drawing, temperature=0.8))
    value = system.vary(number, here)
    child, G, D = system.children[number], system.generator, system.discriminator
    for a, b in zip(child.parameters(), G.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a is not b
    tau = 0.8 * 100 ** (-0.2 if number == 1 else 0.2)
    _, f, _ = _relaxed(system, child, tau, Streams(0, CPU)["noise"])
    r = D.score(D.embedding[real], None).mean(1).detach()
    average = -((f - r.mean()).sigmoid().log().mean() + (f.mean() - r).sigmoid().log().mean())
    paired = -(f - r).sigmoid().log().mean()
    expected = average if number == 1 else paired
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(child.parameters())
    ours, theirs = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_catgans_fitness_is_quality_and_diversity(doubles: None) -> None:
    system = made("catgan")
    here = stage(system, sentences())
    tokens, f, nats = _relaxed(system, system.children[0], 1.0, Streams(0, CPU)["fitness"])
    shown = (tokens == 2).cumsum(1) - (tokens == 2).long() == 0
    expected = -((f.mean() - 0.3) ** 2) + 0.5 * nats.sum() / shown.sum()
    with torch.no_grad():
        found = system.fitness(0, torch.tensor(0.3), here)
    assert found == pytest.approx(float(expected.detach()), abs=1e-10)


def test_the_fittest_of_catgans_children_is_the_next_generator(
    doubles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, real = made("catgan"), sentences()
    values = [0.1, 0.2, 0.0, 0.3, 0.9, 0.4]
    monkeypatch.setattr(system, "fitness", lambda number, *_: values[number])
    here = stage(system, real)
    loss = system.select(here)
    assert here.values["train/chosen"] == 4
    chosen, D = system.children[4], system.discriminator
    for a, b in zip(chosen.parameters(), system.generator.parameters(), strict=True):
        assert torch.equal(a, b)
    _, f, _ = _relaxed(system, chosen, 100**-0.2, Streams(0, CPU)["noise"])
    r = D.score(D.embedding[real], None).mean(1)
    expected = -((r - f.mean()).sigmoid().log().mean() + (r.mean() - f).sigmoid().log().mean())
    assert torch.allclose(loss, expected, atol=1e-10)
