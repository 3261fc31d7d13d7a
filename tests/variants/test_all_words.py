"""Every next word's score at once, and what an estimator makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from core.config import Config
from core.errors import InputError
from core.interfaces import SamplingSpec
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import expected_loss
from core.seeding import generator as stream
from core.training.generator_batch import GeneratorBatch
from core.training.loop import train_phase
from core.training.players import build
from core.training.rollout import sample_with_grad
from core.training.scoring import log_ratio
from core.training.state import TrainingState
from core.types import Noise, Phase, Scores
from tests.conftest import tiny
from tests.core import test_steps as steps_of
from variants import registry
from variants.estimator import discounted, subtract_others

V, N = 7, 3
SETTINGS = (
    "generator.name=lstm",
    "next_input.name=last_token",
    "noise_mapping.name=none",
    "sampling.name=categorical",
    "discriminator.name=projection",
    "discriminator.dropout=0",
    "penalty.name=none",
    "model.mask_after_eos=true",
)


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def turn_of(objective: str, gamma: float, *settings: str) -> tuple[GeneratorBatch, torch.nn.Module]:
    config = tiny(
        *SETTINGS,
        f"objective.name={objective}",
        "estimator.name=all_words",
        f"estimator.gamma={gamma}",
        *settings,
    )
    players = build(config, registry(), V, torch.device("cpu"))
    assert players.adversary is not None
    generator, D = players.generator, players.adversary.discriminator
    with torch.no_grad():
        D.embedding.normal_()  # scores that differ from word to word
    spec = SamplingSpec(players.sampling, 1.0, mask_after_eos=True)
    rng = stream(0, "test")
    draw = sample_with_grad(generator, spec, N, rng)
    real_tokens = torch.randint(V, draw.tokens.shape, generator=torch.Generator().manual_seed(1))
    real = HardTokens(real_tokens, spec.mask(real_tokens))
    turn = GeneratorBatch(draw, real, generator, spec, D, players.adversary.objective, rng)
    return turn, players.adversary.estimator  # type: ignore[return-value]


def scores_of_each_word(turn: GeneratorBatch) -> Tensor:
    """(N, S, V), the plain way: each word put in place of the one drawn, and prepared."""
    D, tokens = turn.discriminator, turn.draw.tokens
    found = torch.empty(*tokens.shape, V, dtype=torch.float64)
    for step in range(tokens.shape[1]):
        for word in range(V):
            changed = tokens.clone()
            changed[:, step] = word
            scores = D.score(D.embedding[changed], None)
            found[:, step, word] = scores[:, step].detach()
    return found


@pytest.mark.parametrize("objective", ["minimax", "non_saturating", "relativistic"])
@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_it_is_the_mean_over_all_next_words(objective: str, gamma: float) -> None:
    turn, estimator = turn_of(objective, gamma)
    weights = list(turn.generator.parameters())  # type: ignore[attr-defined]
    ours = estimator.loss(turn, estimator.prepare(turn))
    scores, mask = scores_of_each_word(turn), turn.mask
    assert mask is not None
    real = turn.real_scores()
    beside = None if real is None else Scores(real.filled()[..., None].expand_as(scores))
    rewards = turn.objective.reward(Scores(scores), beside)
    p = turn.generator.head(turn.draw.hidden).softmax(-1)  # (N, S, V)
    plain = -((p * rewards).sum(-1) * mask).sum(1).mean()
    if gamma:
        drawn = turn.masked(turn.rewards().values)
        later = subtract_others(discounted(drawn, gamma) - drawn, mask)
        plain = plain + turn.policy_gradient_loss(later)
    assert torch.allclose(ours, plain, atol=1e-12)
    ours_of = torch.autograd.grad(ours, weights, retain_graph=True)
    for a, b in zip(ours_of, torch.autograd.grad(plain, weights), strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert max(float(a.abs().max()) for a in ours_of) > 1e-4


@pytest.mark.parametrize("tied", ["true", "false"])
@pytest.mark.parametrize("name", ["projection", "transformer_projection"])
def test_the_discriminators_loss_is_the_mean_over_all_next_words(name: str, tied: str) -> None:
    settings = {"name": name, "tied": tied, "width": 8, "hidden": 8, "dropout": 0}
    turn, _ = turn_of("minimax", 0.0, *(f"discriminator.{k}={v}" for k, v in settings.items()))
    D, loss = turn.discriminator, turn.objective.fake_loss  # type: ignore[attr-defined]
    weights = list(D.parameters())  # type: ignore[attr-defined]
    tokens, mask, p = turn.draw.tokens, turn.mask, turn.generator.head(turn.draw.hidden).softmax(-1)
    assert mask is not None
    queries, values = D.queries(D.embedding[tokens])  # type: ignore[attr-defined]
    scores = queries @ D.output_embedding.T + values[..., None]  # (N, S, V)
    assert torch.allclose(scores.detach(), scores_of_each_word(turn))
    p = p.detach()
    plain = ((p * loss(scores)).sum(-1) * mask).sum(1).mean()
    hidden = turn.draw.hidden.detach()
    head = turn.generator.head
    ours, mean = expected_loss(hidden, head, mask, (queries, values, D.output_embedding), loss)
    assert torch.allclose(ours, plain, atol=1e-12)
    assert torch.allclose(mean, (p * scores).sum(-1)[mask].mean())
    ours_of = torch.autograd.grad(ours, weights, retain_graph=True)
    for a, b in zip(ours_of, torch.autograd.grad(plain, weights), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert max(float(a.abs().max()) for a in ours_of) > 1e-3


def test_log_ratios_to_the_generator_are_compared_in_both_steps() -> None:
    settings = ("estimator.expected=true", "estimator.log_ratio=true", "discriminator.tied=false")
    turn, estimator = turn_of("minimax", 0.0, *settings)
    D, objective, mask = turn.discriminator, turn.objective, turn.mask
    assert mask is not None
    tokens, head = turn.draw.tokens, turn.generator.head
    queries, values = D.queries(D.embedding[tokens])  # type: ignore[attr-defined]
    logits = queries @ D.output_embedding.T  # type: ignore[attr-defined]
    log_p = head(turn.draw.hidden).log_softmax(-1)
    scores = logits.log_softmax(-1) + values[..., None] - log_p.detach()  # (N, S, V)
    p = log_p.exp()

    # D's loss and its gradient, at every next word and at words that are given.
    weights = list(D.parameters())  # type: ignore[attr-defined]
    plain = ((p.detach() * objective.fake_loss(scores)).sum(-1) * mask).sum(1).mean()  # type: ignore[attr-defined]
    ours, mean = expected_loss(
        turn.draw.hidden.detach(), head, mask, (queries, values, D.output_embedding),  # type: ignore[attr-defined]
        objective.fake_loss, log_ratio=True,  # type: ignore[attr-defined]
    )  # fmt: skip
    assert torch.allclose(mean, (p * scores).sum(-1)[mask].mean())
    given = log_ratio(D, (queries, values), tokens, turn.log_probs().detach())  # type: ignore[arg-type]
    of_given = scores.gather(-1, tokens[..., None])[..., 0]
    assert torch.allclose(given[mask], of_given[mask])
    for a, b in ((ours, plain), (given[mask].sum(), of_given[mask].sum())):
        assert torch.allclose(a, b, atol=1e-12)
        ours_of = torch.autograd.grad(a, weights, retain_graph=True)
        plain_of = torch.autograd.grad(b, weights, retain_graph=True)
        for c, d in zip(ours_of, plain_of, strict=True):
            assert torch.allclose(c, d, atol=1e-12)
        assert max(float(c.abs().max()) for c in ours_of) > 1e-3

    # G's: the reward is D's score, its copy of G's probabilities without gradient.
    loss = estimator.loss(turn, estimator.prepare(turn))
    reward = objective.reward(Scores(scores.detach()), None)
    expected = -((p * reward).sum(-1) * mask).sum(1).mean()
    assert torch.allclose(loss, expected, atol=1e-12)
    weights = list(turn.generator.parameters())  # type: ignore[attr-defined]
    ours_of = torch.autograd.grad(loss, weights, retain_graph=True)
    for a, b in zip(ours_of, torch.autograd.grad(expected, weights), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_a_generator_that_equals_the_language_model_gets_no_gradient_from_it() -> None:
    settings = ("estimator.expected=true", "estimator.log_ratio=true", "discriminator.tied=false")
    turn, estimator = turn_of("reverse_kl", 0.0, *settings)
    D, head = turn.discriminator, turn.generator.head
    with torch.no_grad():  # both are uniform
        D.query.weight.zero_(), D.query.bias.zero_()  # type: ignore[attr-defined]
        head.weight.zero_(), head.bias.zero_()
    loss = estimator.loss(turn, estimator.prepare(turn))
    weights = list(turn.generator.parameters())  # type: ignore[attr-defined]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    assert max(float(each.abs().max()) for each in found if each is not None) < 1e-12


def config_of(*settings: str) -> Config:
    words = ("estimator.name=all_words", "objective.name=reverse_kl", "schedule.name=adversarial")
    return tiny(*SETTINGS, *words, f"train.batch_size={steps_of.N}", *settings)


def state_of(*settings: str) -> TrainingState:
    config = config_of(*settings)
    players = build(config, registry(), steps_of.V, steps_of.CPU)
    return TrainingState(config, players, steps_of.Batches(), steps_of.CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 2])
def test_generator_learns_on_the_sentences_of_the_discriminators_last_step(steps: int) -> None:
    state, seen = state_of("estimator.shared=true", "estimator.expected=true"), []
    generator = state.players.generator

    def watched(tokens: Tensor, noise: Noise) -> Tensor:
        seen.append(tokens)
        return type(generator).parallel(generator, tokens, noise)  # type: ignore[attr-defined]

    generator.parallel = watched  # type: ignore[method-assign]
    train_phase(state, Phase("discriminator", "adversarial", steps))
    drawn = state.of_discriminator_step
    assert drawn is not None
    train_phase(state, Phase("generator", "adversarial"))
    (read,) = seen
    assert torch.equal(drawn.tokens[:, : read.shape[1]], read)
    assert state.of_discriminator_step is None  # a second step of G draws sentences of its own
    train_phase(state, Phase("generator", "adversarial"))
    assert not torch.equal(drawn.tokens[:, : seen[1].shape[1]], seen[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["estimator.shared=true", "train.micro_batch=1"], "leave train.micro_batch out"),
        (["estimator.expected=true", "train.replay=9"], "leave train.replay out"),
        (
            ["estimator.expected=true", "objective.name=hinge"],
            "needs an objective of cross-entropy",
        ),
    ],
)
def test_what_expected_and_shared_steps_cannot_do_is_refused(
    settings: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config_of(*settings)


@pytest.mark.parametrize("missing", ["estimator.expected=false", "estimator.gamma=.5"])
def test_a_log_ratio_needs_expected_losses_of_single_words(missing: str) -> None:
    with pytest.raises(InputError, match="log_ratio = true needs expected = true and gamma = 0"):
        state_of("estimator.expected=true", "estimator.log_ratio=true", missing)
