"""LeakGAN (Guo et al. 2018): D leaks its features to a manager, whose goals guide a worker.

With f_t the F features of D for the first t tokens (the rest of the sentence masked), the generator
is

    manager:  g_t = normalised(W h_t),          h_t the state of an LSTM over f_0 .. f_t
    worker:   w_t = psi sum_{i=1..c} g_{t-i},   psi linear without a bias, F to k
              l_t = O_t w_t,                    O_t (V, k) linear in o_t, the state of an LSTM

O_t w_t is a linear map of the outer product of [o_t; 1] and w_t, which is the hidden state here,
so the vocabulary head is a matrix as in other generators. Goals before the first step are fixed
random directions. With Q_t D's mean probability of real for K completions of the first t tokens
(Q_S is the sentence's own) and R_t its rank within the batch, rescaled by a sigmoid (0 the worst,
1 the best):

    D:        non-saturating cross-entropy
    manager:  - mean_t R_t cos(f_{t+c} - f_t, g_t)
    worker:   - mean_t r_t log p(x_t),  r_t = 1/c sum_{i=1..c} cos(f_t - f_{t-i}, g_{t-i})
    pretraining, and every `interleave` updates later: likelihood for the worker, R = 1 on real text
    for the manager

f_t in r_t includes the rewarded token x_t. No gradient flows into D's features or from the worker
to the goals. Deviations from the authors' code: sampling at temperature 1 throughout; fixed goals
before the first step; manager and worker share one optimiser (learning rate and clipping, no
gradient). It forgets its moments when adversarial training begins (theirs uses separate
optimisers), and serves the interleaved likelihood updates too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize, pad

from core.interfaces import StepContext
from core.nn.layers import Linear
from core.nn.likelihood import log_likelihood, negative_log_likelihood
from core.nn.recurrent import select_rows
from core.seeding import draw_seed
from core.types import PAD, Noise, Phase, Progress, Shape, visible
from variants.discriminator.cnn import CNNDiscriminator
from variants.system import CNNSystem, Completions, SearchedSteps, SmallSize, Updates, cnn


class LeakGAN(CNNSystem):
    """LeakGAN: a manager sets goals in D's feature space, a worker generates towards them."""

    class Config(CNNSystem.Config):
        """Sizes, the paper's for length 20; pretraining and interleaving in updates."""

        width: SmallSize = 32  # E, of the worker's token embeddings
        hidden: SmallSize = 32  # of both LSTMs
        goal: Annotated[int, Field(ge=1, le=1024)] = 16  # k
        horizon: Annotated[int, Field(ge=1, le=64)] = 4  # c, steps that a goal looks ahead
        completions: Completions = 4
        steepness: Annotated[float, Field(gt=0)] = 12.0  # of the sigmoid over ranks
        generator_updates: Updates = 1000  # of likelihood first, each with one step of D
        n_d: SearchedSteps = 5
        interleave: Annotated[int, Field(ge=1)] = 15  # every how many updates one of likelihood

    paper = "Guo et al. 2018"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.discriminator = cnn(config, shape)
        self.generator: LeakGenerator = LeakGenerator(config, shape, self.discriminator)
        self.others = {"discriminator": self.discriminator}

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood first and every `interleave` updates, n_d : 1 otherwise."""
        likelihood = Phase("generator", self.likelihood_loss)
        adversarial = progress.update - self.config.generator_updates
        if adversarial < 0:
            return likelihood, Phase("discriminator", self.discriminator_loss)
        if adversarial % self.config.interleave == self.config.interleave - 1:
            return (likelihood,)
        return (
            Phase("discriminator", self.discriminator_loss, self.config.n_d),
            Phase("generator", self.generator_loss, reset_optimiser=adversarial == 0),
        )

    def likelihood_loss(self, context: StepContext) -> Tensor:
        """Likelihood of real tokens for the worker, real transitions for the manager."""
        tokens = context.next_batch()
        states = self.generator.states(tokens)
        mask = (tokens != PAD).float()
        nll = negative_log_likelihood(states.hidden, self.generator.head, tokens)
        transitions = self.transitions(states) * mask
        context.metrics["train/likelihood_loss"] = float(nll.detach().sum() / mask.sum())
        return (nll.sum() - transitions.sum()) / mask.sum()

    def generator_loss(self, context: StepContext) -> Tensor:
        """Ranked rewards of transitions for the manager, rewards by goals for the worker."""
        draw = self.sample(context)
        states = self.generator.states(draw.tokens)
        mask = visible(draw.tokens).float()
        with torch.no_grad():
            values = self.ranked(self.mc_q_values(draw, self.config.completions, context))
            intrinsic = self.intrinsic_rewards(states)
        manager = (values * self.transitions(states) * mask).sum() / mask.sum()
        log_p = log_likelihood(states.hidden, self.generator.head, draw.tokens)
        worker = (intrinsic * log_p * mask).sum() / mask.sum()
        context.metrics["train/intrinsic_reward"] = float((intrinsic * mask).sum() / mask.sum())
        return -(manager + worker)

    def ranked(self, values: Tensor) -> Tensor:
        """Bootstrapped rescaled activation: sigmoid(steepness (1/2 - rank / N)), rank 1 is best."""
        rank = values.argsort(dim=0, descending=True).argsort(dim=0) + 1
        return (self.config.steepness * (0.5 - rank / len(values))).sigmoid()

    def transitions(self, states: States) -> Tensor:
        """cos(f_{t+c} - f_t, g_t) of each step (N, S); past the end the last features are used."""
        S = states.goals.shape[1]
        ahead = torch.arange(S, device=states.goals.device).add(self.config.horizon).clamp(max=S)
        change = states.features[:, ahead] - states.features[:, :S]
        return cosine_similarity(change, states.goals, dim=-1)

    def intrinsic_rewards(self, states: States) -> Tensor:
        """R (N, S) of the token of each step, averaged over the goals so far."""
        S = states.goals.shape[1]
        total = torch.zeros_like(states.goals[..., 0])
        count = torch.zeros_like(states.goals[0, :, 0])
        for i in range(1, min(self.config.horizon, S) + 1):
            change = states.features[:, i:] - states.features[:, :-i]  # f_s - f_{s-i}, s = i .. S
            total[:, i - 1 :] += cosine_similarity(change, states.goals[:, : S + 1 - i], dim=-1)
            count[i - 1 :] += 1
        return total / count


@dataclass
class RolloutState:
    """A rollout in progress."""

    goals: list[Tensor]  # (N, F) each, the first c of them before the first step
    embedded: list[Tensor] = field(default_factory=list)  # (N, D) each, tokens in D's embedding
    manager: tuple[Tensor, Tensor] | None = None
    worker: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class States:
    """All steps of N sentences: what the losses of manager and worker are computed from."""

    hidden: Tensor  # (N, S, k (H + 1)), gradient of the worker
    features: Tensor  # (N, S + 1, F), of 0 to S tokens, without gradient
    goals: Tensor  # (N, S, F), gradient of the manager


class LeakGenerator(nn.Module):
    """Manager and worker. `leak` is D: saved with the generator, but not trained by it."""

    first_goals: Tensor

    def __init__(self, config: LeakGAN.Config, shape: Shape, leak: CNNDiscriminator) -> None:
        super().__init__()
        E, H, F, k = config.width, config.hidden, leak.width, config.goal
        self.length, self.width, self.horizon = shape.length, E, config.horizon
        self.leak = leak
        self.embedding = nn.Embedding(shape.vocabulary, E)
        self.start = nn.Parameter(torch.randn(E))
        self.manager = nn.LSTM(F, H, batch_first=True)
        self.goal = nn.Linear(H, F)
        self.project = nn.Linear(F, k, bias=False)  # psi
        self.worker = nn.LSTM(E, H, batch_first=True)
        self.head: nn.Linear = Linear(k * (H + 1), shape.vocabulary, bias=False)
        self.register_buffer("first_goals", normalize(torch.randn(config.horizon, F), dim=-1))

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """No noise except that of sampling."""
        return Noise(None, None, None, draw_seed(rng), count, scale)

    def begin(self, noise: Noise, differentiable: bool) -> RolloutState:
        """See `Generator.begin`."""
        return RolloutState([goal.expand(noise.count, -1) for goal in self.first_goals])

    def fork(self, state: RolloutState, rows: Tensor) -> RolloutState:
        """See `Generator.fork`."""
        return RolloutState(
            [goal[rows] for goal in state.goals],
            [tokens[rows] for tokens in state.embedded],
            select_rows(state.manager, rows),
            select_rows(state.worker, rows),
        )

    def step(self, state: RolloutState, last: Tensor | None) -> Tensor:
        """See `Generator.step`; `last` as `embed` returns it."""
        count = len(state.goals[0])
        token = self.start.expand(count, -1)
        if last is not None:
            token = last[:, : self.width]
            state.embedded.append(last[:, self.width :])
        features = self._features(state.embedded, count)
        managed, state.manager = self.manager(features[:, None], state.manager)
        window = torch.stack(state.goals[-self.horizon :]).sum(0)
        state.goals.append(normalize(self.goal(managed[:, 0]), dim=-1))
        worked, state.worker = self.worker(token[:, None], state.worker)
        return self._hidden(worked, window[:, None])[:, 0]

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        return self.states(tokens).hidden

    def states(self, tokens: Tensor) -> States:
        """All steps of sentences (N, S) at once."""
        N, S = tokens.shape
        with torch.no_grad():
            embedded = self.leak.embedding[tokens].unbind(1)
        features = torch.stack([self._features(embedded[:t], N) for t in range(S + 1)], dim=1)
        goals = normalize(self.goal(self.manager(features[:, :S])[0]), dim=-1)
        before = torch.cat([self.first_goals.expand(N, -1, -1), goals[:, :-1]], dim=1)
        windows = before.unfold(1, self.horizon, 1).sum(-1)  # (N, S, F)
        inputs = torch.cat([self.start.expand(N, 1, -1), self.embedding(tokens[:, :-1])], dim=1)
        return States(self._hidden(self.worker(inputs)[0], windows), features, goals)

    def embed(self, tokens: Tensor) -> Tensor:
        """The worker's embedding and D's, concatenated (..., E + D)."""
        return torch.cat([self.embedding(tokens), self.leak.embedding[tokens].detach()], dim=-1)

    def _features(self, embedded: Sequence[Tensor], N: int) -> Tensor:
        """D's features (N, F) of the tokens so far, (N, D) each; later positions are masked."""
        with torch.no_grad():
            whole = self.leak.embedding.new_zeros(N, self.length, self.leak.embedding.shape[1])
            if embedded:
                whole[:, : len(embedded)] = torch.stack(list(embedded), dim=1)
            mask = torch.arange(self.length, device=whole.device) < len(embedded)
            return self.leak.features(whole, mask.expand(N, -1))

    def _hidden(self, worked: Tensor, windows: Tensor) -> Tensor:
        """Outer product of [o; 1] (N, P, H + 1) and w (N, P, k), flattened."""
        w = self.project(windows.detach())
        o = pad(worked, (0, 1), value=1.0)
        return (o.unsqueeze(-1) * w.unsqueeze(-2)).flatten(2)
