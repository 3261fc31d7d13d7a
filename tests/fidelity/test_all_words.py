"""all_words: from scratch, and both losses are expectations over every next token."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.training.loop import train_phase
from core.types import Phase
from tests.fidelity.small import share, small, state


@pytest.mark.fidelity
def test_no_step_is_one_of_likelihood() -> None:
    """Ours."""
    check_no_step_is_one_of_likelihood("all_words")


@pytest.mark.fidelity
def test_losses_are_those_of_every_next_token_on_the_same_sentences() -> None:
    """Ours: D's loss is E sum_t sp(-D(x)) + E sum_t sum_w p(w) sp(D(w)); that of G, with D after
    its step, is E sum_t sum_w p(w) (b log p(w) - D(w)).
    """

    def scores(queries: Tensor, values: Tensor, words: Tensor, _: Tensor) -> Tensor:
        return queries @ words.T + values.unsqueeze(-1)

    check_losses("all_words", scores)


def check_no_step_is_one_of_likelihood(system: str) -> None:
    """D and G in turn, both adversarial."""
    assert share(state(small(system)).players.schedule, 10, 5) == {
        ("discriminator", "adversarial"): 5,
        ("generator", "adversarial"): 5,
    }


def check_losses(system: str, scores: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Both losses of one update by the plain formulas. `scores` are D's of every next token
    (N, S, V), from its queries (N, S, E), values (N, S), table (V, E) and G's log p (N, S, V).
    """
    run = state(small(system, "discriminator.dropout=0.0"))
    G, D, bonus = run.players.generator, run.adversary.discriminator, run.config.train.entropy

    @torch.no_grad()
    def every_score(tokens: Tensor) -> Tensor:  # (N, S, V)
        queries, values = D.queries(D.embedding[tokens])  # type: ignore[attr-defined]
        hidden = G.parallel(tokens, G.draw_noise(len(tokens), torch.Generator()))
        return scores(queries, values, D.output_embedding, G.head(hidden).log_softmax(-1))  # type: ignore[attr-defined]

    weights = {k: v.clone() for k, v in D.state_dict().items()}  # type: ignore[attr-defined]
    train_phase(run, Phase("discriminator", "adversarial"))
    drawn = run.of_discriminator_step
    assert drawn is not None
    d_loss = run.metrics["train/discriminator_loss"]
    assert not torch.equal(weights["embedding"], D.embedding)

    p, mask = G.head(drawn.hidden).detach().softmax(-1), run.sampling_spec().mask(drawn.tokens)
    assert mask is not None
    g_expected = ((p * (bonus * p.log() - every_score(drawn.tokens))).sum(-1) * mask).sum(1).mean()
    before = {k: v.clone() for k, v in G.state_dict().items()}  # type: ignore[attr-defined]
    train_phase(run, Phase("generator", "adversarial"))
    assert run.metrics["train/generator_loss"] == pytest.approx(float(g_expected), rel=1e-4)

    D.load_state_dict(weights)  # type: ignore[attr-defined]
    G.load_state_dict(before)  # type: ignore[attr-defined]
    real = run.last_tokens()
    shown = run.sampling_spec().mask(real)
    of_real = every_score(real).gather(-1, real.unsqueeze(-1)).squeeze(-1)
    fakes = ((p * softplus(every_score(drawn.tokens))).sum(-1) * mask).sum(1).mean()
    d_expected = (softplus(-of_real) * shown).sum(1).mean() + fakes
    assert d_loss == pytest.approx(float(d_expected), rel=1e-4)
