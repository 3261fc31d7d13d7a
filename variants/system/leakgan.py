"""LeakGAN (Guo et al. 2018): D leaks its features to a manager, whose goals guide a worker.

With f_t the F features of D for the first t tokens (the rest of the sentence masked), the generator
is

    manager:  g_t = W h_t / |W h_t|,            h_t the state of an LSTM over f_0 .. f_t
    goals:    G_b = sum of g_t over block b - 1 of c steps: the goal during block b
    worker:   w_b = psi G_b / |psi G_b|,        psi linear without a bias, F to k
              l_t = O_t w_b,                    O_t (V, k) linear in o_t, the state of an LSTM

O_t w_b is a linear map of the outer product of [o_t; 1] and w_b, which is the hidden state here,
so the vocabulary head is a matrix as in other generators. The goal of the first block is a fixed
random vector. Block b covers the tokens from s = c b on, up to e, its end or the sentence's. With
Q_b D's mean probability of real for K completions of the first e tokens, and R_b its rank within
the batch, rescaled by a sigmoid (0 the worst, 1 the best):

    D:        non-saturating cross-entropy
    manager:  - mean_b R_b cos(f_e - f_s, G_b)
    worker:   - mean_t r_t log p(x_t),  r_t = cos(f_{t+1} - f_s, G_b)
    pretraining, and every `interleave` updates later: likelihood for the worker, R = 1 on real text
    for the manager

f_{t+1} in r_t includes the rewarded token x_t. No gradient flows into D's features or from the
worker to the goals. Blocks and norms are those of the authors' code; the paper's equations slide a
window of c goals over the steps and do not normalise w. Deviations from the code: it trains the
first goal; r_t and cos are one mean over the batch there, since its cosine distance reduces them;
manager and worker share one optimiser here (clipping, no gradient). It forgets its moments when
adversarial training begins (theirs uses separate optimisers), and serves the interleaved likelihood
updates too.
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
from core.nn.likelihood import log_likelihood, negative_log_likelihood
from core.nn.recurrent import select_rows
from core.seeding import draw_seed
from core.types import PAD, Noise, Phase, Progress, Shape, visible
from variants.discriminator.cnn import CNNDiscriminator
from variants.system import CNNSystem, Completions, SearchedSteps, SmallSize, Steps, Updates, cnn

ROUNDS = 10  # of pretraining, D before G in each


class LeakGAN(CNNSystem):
    """LeakGAN: a manager sets goals in D's feature space, a worker generates towards them."""

    class Config(CNNSystem.Config):
        """Sizes, the paper's for length 20; pretraining and interleaving in updates."""

        width: SmallSize = 32  # E, of the worker's token embeddings
        hidden: SmallSize = 32  # of both LSTMs
        goal: Annotated[int, Field(ge=1, le=1024)] = 16  # k
        horizon: Annotated[int, Field(ge=1, le=64)] = 4  # c, steps of a goal
        completions: Completions = 4
        steepness: Annotated[float, Field(gt=0)] = 12.0  # of the sigmoid over ranks
        generator_updates: Updates = 1000  # of likelihood first
        discriminator_updates: Updates | None = None  # of D, before G; None: one with each
        n_d: SearchedSteps = 5
        interleave: Annotated[int, Field(ge=1)] = 15  # updates from likelihood to likelihood
        likelihood_steps: Steps = 1  # in that update
        extra_likelihood: bool = False  # in addition to its adversarial steps, not instead

    paper = "Guo et al. 2018"

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.discriminator = cnn(config, shape)
        self.generator: LeakGenerator = LeakGenerator(config, shape, self.discriminator)
        self.others = {"discriminator": self.discriminator}

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Pretraining of both, then n_d : 1, with likelihood every `interleave` updates."""
        config, of_d = self.config, self.config.discriminator_updates
        D = Phase("discriminator", self.discriminator_loss, pretraining=True)
        likelihood = Phase("generator", self.likelihood_loss, pretraining=True)
        end = config.generator_updates + (of_d or 0)
        adversarial = progress.update - end
        if adversarial < 0:
            if of_d is None:
                return likelihood, D
            return (D if progress.update * ROUNDS % end < of_d else likelihood,)
        phases = (
            Phase("discriminator", self.discriminator_loss, config.n_d),
            Phase("generator", self.generator_loss, reset_optimiser=adversarial == 0),
        )
        likelihood = Phase("generator", self.likelihood_loss, config.likelihood_steps)
        if config.extra_likelihood:  # after G's step, in the first of `interleave` updates
            return phases if adversarial % config.interleave else (*phases, likelihood)
        return phases if (adversarial + 1) % config.interleave else (likelihood,)

    def likelihood_loss(self, context: StepContext) -> Tensor:
        """Likelihood of real tokens for the worker, real transitions for the manager."""
        tokens = context.next_batch()
        states, mask = self.generator.states(tokens), tokens != PAD
        nll = negative_log_likelihood(states.hidden, self.generator.head, tokens).sum() / mask.sum()
        context.metrics["train/likelihood_loss"] = float(nll.detach())
        return nll - self.transitions(states, mask)[mask[:, :: self.config.horizon]].mean()

    def generator_loss(self, context: StepContext) -> Tensor:
        """Ranked rewards of transitions for the manager, rewards by goals for the worker."""
        draw, c = self.sample(context), self.config.horizon
        states, mask = self.generator.states(draw.tokens), visible(draw.tokens)
        with torch.no_grad():
            values = self.ranked(self.mc_q_values(draw, self.config.completions, context, every=c))
            intrinsic = self.intrinsic_rewards(states)
        manager = (values * self.transitions(states, mask))[mask[:, ::c]].mean()
        log_p = log_likelihood(states.hidden, self.generator.head, draw.tokens)
        context.metrics["train/intrinsic_reward"] = float(intrinsic[mask].mean())
        return -(manager + (intrinsic * log_p)[mask].mean())

    def ranked(self, values: Tensor) -> Tensor:
        """Bootstrapped rescaled activation: sigmoid(steepness (1/2 - rank / N)), rank 1 is best."""
        rank = values.argsort(dim=0, descending=True).argsort(dim=0) + 1
        return (self.config.steepness * (0.5 - rank / len(values))).sigmoid()

    def transitions(self, states: States, mask: Tensor) -> Tensor:
        """cos(f_e - f_s, G_b) of each block (N, B), of sentences with this mask (N, S)."""
        c, rows = self.config.horizon, torch.arange(len(mask), device=mask.device)
        starts = torch.arange(0, mask.shape[1], c, device=mask.device)
        ends = torch.minimum(starts + c, mask.sum(1, keepdim=True))
        change = states.features[rows[:, None], ends] - states.features[:, starts]
        return cosine_similarity(change, states.goals, dim=-1)

    def intrinsic_rewards(self, states: States) -> Tensor:
        """R (N, S) of the token of each step."""
        steps = torch.arange(states.hidden.shape[1], device=states.goals.device)
        block = steps // self.config.horizon
        change = states.features[:, 1:] - states.features[:, block * self.config.horizon]
        return cosine_similarity(change, states.goals[:, block], dim=-1)


@dataclass
class RolloutState:
    """A rollout in progress."""

    goal: Tensor  # (N, F), of this block
    next_goal: Tensor  # (N, F), the sum so far
    embedded: list[Tensor] = field(default_factory=list)  # (N, D) each, tokens in D's embedding
    manager: tuple[Tensor, Tensor] | None = None
    worker: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class States:
    """All steps of N sentences: what the losses of manager and worker are computed from."""

    hidden: Tensor  # (N, S, k (H + 1)), gradient of the worker
    features: Tensor  # (N, S + 1, F), of 0 to S tokens, without gradient
    goals: Tensor  # (N, B, F) of the blocks, gradient of the manager


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
        self.head = nn.Linear(k * (H + 1), shape.vocabulary, bias=False)
        self.register_buffer("first_goals", normalize(torch.randn(config.horizon, F), dim=-1))

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """No noise except that of sampling."""
        return Noise(None, None, None, draw_seed(rng), count, scale)

    def begin(self, noise: Noise, differentiable: bool) -> RolloutState:
        """See `Generator.begin`."""
        first = self.first_goals.sum(0).expand(noise.count, -1)
        return RolloutState(first, torch.zeros_like(first))

    def fork(self, state: RolloutState, rows: Tensor) -> RolloutState:
        """See `Generator.fork`."""
        return RolloutState(
            state.goal[rows],
            state.next_goal[rows],
            [tokens[rows] for tokens in state.embedded],
            select_rows(state.manager, rows),
            select_rows(state.worker, rows),
        )

    def step(self, state: RolloutState, last: Tensor | None) -> Tensor:
        """See `Generator.step`; `last` as `embed` returns it."""
        count = len(state.goal)
        token = self.start.expand(count, -1)
        if last is not None:
            token = last[:, : self.width]
            state.embedded.append(last[:, self.width :])
        features = self._features(state.embedded, count)
        managed, state.manager = self.manager(features[:, None], state.manager)
        worked, state.worker = self.worker(token[:, None], state.worker)
        hidden = self._hidden(worked, state.goal[:, None])[:, 0]
        state.next_goal = state.next_goal + normalize(self.goal(managed[:, 0]), dim=-1)
        if (len(state.embedded) + 1) % self.horizon == 0:
            state.goal, state.next_goal = state.next_goal, torch.zeros_like(state.next_goal)
        return hidden

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        return self.states(tokens).hidden

    def states(self, tokens: Tensor) -> States:
        """All steps of sentences (N, S) at once."""
        N, S = tokens.shape
        with torch.no_grad():
            embedded = self.leak.embedding[tokens].unbind(1)
        features = torch.stack([self._features(embedded[:t], N) for t in range(S + 1)], dim=1)
        goals = normalize(self.goal(self.manager(features[:, :S])[0]), dim=-1)  # (N, S, F)
        whole = (S - 1) // self.horizon  # blocks before the last one
        sums = goals[:, : whole * self.horizon].reshape(N, whole, self.horizon, -1).sum(2)
        blocks = torch.cat([self.first_goals.sum(0).expand(N, 1, -1), sums], dim=1)  # (N, B, F)
        windows = blocks.repeat_interleave(self.horizon, dim=1)[:, :S]
        inputs = torch.cat([self.start.expand(N, 1, -1), self.embedding(tokens[:, :-1])], dim=1)
        return States(self._hidden(self.worker(inputs)[0], windows), features, blocks)

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
        w = normalize(self.project(windows.detach()), dim=-1)
        o = pad(worked, (0, 1), value=1.0)
        return (o.unsqueeze(-1) * w.unsqueeze(-2)).flatten(2)
