"""all_words and log_ratio: from scratch, and both losses are expectations over every next token."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

from core.training.loop import train_phase
from core.types import Phase
from tests.fidelity.small import share, small, state


@pytest.mark.parametrize("system", ["all_words", "log_ratio"])
@pytest.mark.fidelity
def test_no_step_is_one_of_likelihood(system: str) -> None:
    """Ours."""
    assert share(state(small(system)).players.schedule, 10, 5) == {
        ("discriminator", "adversarial"): 5,
        ("generator", "adversarial"): 5,
    }


@pytest.mark.parametrize("system", ["all_words", "log_ratio"])
@pytest.mark.fidelity
def test_losses_are_those_of_every_next_token_on_the_same_sentences(system: str) -> None:
    """Ours: D's loss is E sum_t sp(-D(x)) + E sum_t sum_w p(w) sp(D(w)); that of G, with D after
    its step, is E sum_t sum_w p(w) (b log p(w) - D(w)). With log_ratio, D(w) is
    log q(w) - log p(w) + v.
    """
    run = state(small(system, "discriminator.dropout=0.0"))
    G, D, bonus = run.players.generator, run.adversary.discriminator, run.config.train.entropy

    @torch.no_grad()
    def every_score(tokens: torch.Tensor) -> torch.Tensor:  # (N, S, V)
        queries, values = D.queries(D.embedding[tokens])  # type: ignore[attr-defined]
        logits = queries @ D.next_words.T  # type: ignore[attr-defined]
        if system == "log_ratio":
            hidden = G.parallel(tokens, G.draw_noise(len(tokens), torch.Generator()))
            logits = logits.log_softmax(-1) - G.head(hidden).log_softmax(-1)
        return logits + values.unsqueeze(-1)

    weights = {k: v.clone() for k, v in D.state_dict().items()}  # type: ignore[attr-defined]
    train_phase(run, Phase("discriminator", "adversarial"))
    drawn = run.drawn
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
