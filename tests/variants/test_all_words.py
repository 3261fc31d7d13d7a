"""Every next word's score at once, and what an estimator makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from core.errors import InputError
from core.interfaces import SamplingSpec
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import expected_loss
from core.seeding import generator as stream
from core.training.generator_batch import GeneratorBatch
from core.training.loop import train_phase
from core.training.players import build
from core.training.rollout import sample_with_grad
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
    drawing = SamplingSpec(players.sampling, 1.0, mask_after_eos=True)
    rng = stream(0, "test")
    draw = sample_with_grad(generator, drawing, N, rng)
    real_tokens = torch.randint(V, draw.tokens.shape, generator=torch.Generator().manual_seed(1))
    real = HardTokens(real_tokens, drawing.mask(real_tokens))
    turn = GeneratorBatch(draw, real, generator, drawing, D, players.adversary.objective, rng)
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
def test_the_discriminators_loss_is_the_mean_over_all_next_words(tied: str) -> None:
    turn, _ = turn_of("minimax", 0.0, f"discriminator.tied={tied}")
    D, loss = turn.discriminator, turn.objective.fake_loss  # type: ignore[attr-defined]
    weights = list(D.parameters())  # type: ignore[attr-defined]
    tokens, mask, p = turn.draw.tokens, turn.mask, turn.generator.head(turn.draw.hidden).softmax(-1)
    assert mask is not None
    queries, values = D.queries(D.embedding[tokens])  # type: ignore[attr-defined]
    scores = queries @ D.next_words.T + values[..., None]  # (N, S, V)
    assert torch.allclose(scores.detach(), scores_of_each_word(turn))
    p = p.detach()
    plain = ((p * loss(scores)).sum(-1) * mask).sum(1).mean()
    hidden = turn.draw.hidden.detach()
    head = turn.generator.head
    ours, mean = expected_loss(hidden, head, mask, (queries, values, D.next_words), loss)
    assert torch.allclose(ours, plain, atol=1e-12)
    assert torch.allclose(mean, (p * scores).sum(-1)[mask].mean())
    ours_of = torch.autograd.grad(ours, weights, retain_graph=True)
    for a, b in zip(ours_of, torch.autograd.grad(plain, weights), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert max(float(a.abs().max()) for a in ours_of) > 1e-3


def state_of(*settings: str) -> TrainingState:
    words = ("estimator.name=all_words", "objective.name=reverse_kl", "schedule.name=adversarial")
    config = tiny(*SETTINGS, *words, f"train.batch_size={steps_of.N}", *settings)
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
    drawn = state.drawn
    assert drawn is not None
    train_phase(state, Phase("generator", "adversarial"))
    (read,) = seen
    assert torch.equal(drawn.tokens[:, : read.shape[1]], read)
    assert state.drawn is None  # a second step of G draws sentences of its own
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
        state_of(*settings)
