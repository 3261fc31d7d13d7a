"""The interfaces of the parts of a text GAN.

A generator G has S steps, and at each a distribution over V tokens. A *sampling* selects a token
from each distribution and says what the discriminator D sees of it. An *estimator* turns D's scores
into a gradient for G. An *objective* and a *penalty* make the losses. A *schedule* says which
player is trained when. Every part is a strategy in a slot (`core.config.slots`), has a file in
`variants/` and declares what it needs of the other slots and what it offers them (`Strategy`).

Capabilities, by the slot that offers them:

- sampling: `differentiable_tokens` (a gradient passes from D to G through what D sees),
  `hard_tokens` (D sees token ids drawn from softmax(l)), `likelihood` (tokens are drawn in
  proportion to it);
- estimator: `score_function` (weights the log-likelihood of drawn tokens), `mean_over_sentences`;
- objective: `mean_over_sentences` (the loss is a mean, so a batch may be cut into micro-batches),
  `log_ratio` (scores estimate log p_data - log p_G), `ranks` (its reward is a rank),
  `loss_per_score` (D's loss is a mean over real scores plus one over generated ones);
- discriminator: `embedded_tokens` (it reads the output of its linear first layer), `step_scores`
  (N, S) of every prefix, `next_token_scores` of every possible next token, `features` (N, F),
  `trimming` (positions after the end may be cut off without a change of scores);
- noise mapping: `memory` (it maps a latent to a memory);
- schedule: `pretraining` (G is trained by likelihood before D is trained at all).

Letters and shapes as in `core.types`. One file because the interfaces refer to each other and who
writes a strategy reads them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from core.config import StrategyConfig, TrainConfig
from core.types import (
    DiscriminatorInput,
    Draw,
    Embedded,
    Noise,
    NoiseKind,
    Phase,
    Progress,
    Scores,
    Seeds,
    visible,
)


class Strategy:
    """Base of every strategy of every slot: what it says about itself, with defaults.

    `needs` maps a slot to a capability that the strategy in that slot must offer; `offers` are the
    capabilities of this one. The check of a configuration reads these, and the `plan` of an
    estimator. A strategy keeps its settings in `config`. One that is a torch module inherits from
    `nn.Module` first, as in `class Mine(nn.Module, Strategy)`, and builds itself from them.
    """

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig  # no settings
    offers: frozenset[str] = frozenset()
    needs: ClassVar[Mapping[str, str]] = {}
    paper: ClassVar[str] = ""
    # Of an estimator: D is in evaluation mode (no dropout) in G's steps, as for most rewards.
    discriminator_evaluates: ClassVar[bool] = True
    adds_entropy: ClassVar[bool] = False  # see `Estimator`

    def __init__(self, config: Any) -> None:
        self.config = config


@runtime_checkable
class Generator(Protocol):
    """Noise to tokens. `step` and `parallel` are the same function, evaluated two ways."""

    length: int  # S
    embedding: nn.Embedding  # the table (V, E) behind `embed`
    head: nn.Linear  # E to V

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """Noise for `count` sentences; `scale` multiplies it (temperature of implicit models)."""

    def begin(self, noise: Noise, differentiable: bool) -> Any:
        """Start a rollout; `differentiable` asks for a state that carries gradients."""

    def step(self, state: Any, last: Tensor | None) -> Tensor:
        """One step: embedding of the last token (N, E), None at first, to hidden (N, E)."""

    def fork(self, state: Any, rows: Tensor) -> Any:
        """A copy of the state for the sentences `rows` (K,), which may repeat; `state` does not
        change. Only for rollouts without gradient.
        """

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """All S steps at once given the drawn tokens (N, S): hidden (N, S, E), with gradient."""

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (...) to input embeddings (..., E)."""


class NextInput(Protocol):
    """The input of each step of the generator."""

    streams: int  # 1: the last token is the query; 2: a query of its own next to the tokens

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor | None:
        """The noise it needs for `count` sentences, or None."""

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """Two streams: the query of every step (N, S, E). One stream: the first input (N, 1, E), or
        (N, S, E) what is added to the last token of every step (the first step has no last token).
        """


class NoiseMapping(Protocol):
    """A latent to the memory that the noise blocks attend to."""

    offers: frozenset[str]

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor | None:
        """The latent of `count` sentences, or None when there is no mapping."""

    def __call__(self, latent: Tensor) -> Tensor:
        """Latent to memory (N, S, E)."""


class Sampling(Protocol):
    """How a token is selected, what D sees of it, and what the next step is fed."""

    offers: frozenset[str]
    soft_feedback: bool  # the next step is fed a mixture, with gradient, instead of a token

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """A seed a batch for the noise that selecting tokens draws; empty if it draws none."""

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """Logits (N, V) of one step to tokens (N,); may write over the logits."""

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Soft feedback only: from hidden (N, E) the mixture that is fed on, embedded (N, E)."""

    def discriminator_input(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> DiscriminatorInput:
        """What D sees of the whole sentences: tokens (N, S) and hidden (N, S, E)."""


class Temperature(Protocol):
    """The sampling temperature over a run; `progress` goes from 0 to 1. With an attribute `steps`
    that is not None, `progress` is the number of adversarial updates divided by `steps`.
    """

    def __call__(self, progress: float) -> float:
        """Temperature tau > 0 at this progress."""


class Discriminator(Protocol):
    """Sentences to scores: high means real. One that has a method `read(batches)` makes its first
    weights of the training text, which it is given before training.
    """

    @property
    def offers(self) -> frozenset[str]:
        """Capabilities; with "step_scores" its scores are of steps."""

    @property
    def embedding(self) -> Tensor:
        """(V, E), the first layer, linear and without a bias."""

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E) to scores: (N,), (N, R) of R representations, or (N, S) of
        steps, each of the tokens so far.
        """


class NextTokenDiscriminator(Discriminator, Protocol):
    """A per-step discriminator that knows the score of every next token ("next_token_scores")."""

    @property
    def output_embedding(self) -> Tensor:
        """(V, F), of every token w the vector e_w that its score is a product with."""

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """From the tokens before each step of embedded (N, S, E): q (N, S, F) and v (N, S), so that
        D_t with token w at step t is <q_t, e_w> + v_t.
        """


class Objective(Protocol):
    """The two adversarial losses of D's scores; both are minimised."""

    offers: frozenset[str]
    relativistic: bool  # G's loss and reward use real scores too
    uses_features: bool  # it reads D's features, not its scores

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """D's loss, a scalar."""

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """G's loss, a scalar; `real` is given to relativistic objectives only."""

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """What a score-function estimator maximises: one number a score, in the shape of `fake`.

        Minus G's loss of that score, unless the objective's docstring says otherwise.
        """


class PerScoreObjective(Objective, Protocol):
    """An objective whose D loss is a mean over scores ("loss_per_score")."""

    def real_loss(self, r: Tensor) -> Tensor:
        """D's loss for each score of real text, in the same shape."""

    def fake_loss(self, f: Tensor) -> Tensor:
        """D's loss for each score of generated text, in the same shape."""


class EstimatorContext(Protocol):
    """All that an estimator may read in a generator step on N drawn sentences, or some of them."""

    @property
    def draw(self) -> Draw:
        """The drawn sentences."""

    @property
    def real(self) -> DiscriminatorInput:
        """As many real sentences."""

    @property
    def generator(self) -> Generator:
        """G."""

    @property
    def discriminator(self) -> Discriminator:
        """D, behind instance noise if there is any."""

    @property
    def objective(self) -> Objective:
        """The objective, for its rewards and its generator loss."""

    @property
    def rng(self) -> torch.Generator:
        """The estimator's own random numbers."""

    @property
    def mask(self) -> Tensor | None:
        """(N, S) bool, False after the end token; None when nothing is masked."""

    @property
    def entropy_weight(self) -> float:
        """The weight of the entropy bonus (`train.entropy`)."""

    # With gradient.

    def scores(self) -> Scores:
        """D's scores of the drawn sentences, differentiable through what D sees of them."""

    def log_probs(self) -> Tensor:
        """Log p (N, S) of each drawn token given those before it; 0 after the end."""

    def policy_gradient_loss(self, advantages: Tensor) -> Tensor:
        """The score-function loss: minus the mean over sentences of sum_t A_t log p_t, with
        advantages A (N, S), or (N,) for the same at every step.
        """

    # Without gradient.

    def masked(self, values: Tensor) -> Tensor:
        """Values (N, S) of steps, 0 after the end."""

    def detached_scores(self) -> Scores:
        """D's scores of the drawn sentences."""

    def real_scores(self) -> Scores | None:
        """D's scores of the real sentences; None unless the objective is relativistic."""

    def rewards(self) -> Scores:
        """The objective's reward for each score of the drawn sentences."""

    def mc_q_values(self, count: int, real: Scores | None = None) -> Tensor:
        """Action values (N, S) by Monte Carlo: the mean reward of `count` completions of the prefix
        that ends with each token; for the last token the sentence's own reward. `real` are
        the scores that a relativistic objective compares with, by default `real_scores()`.
        """

    def input_grad(self) -> tuple[Tensor, Tensor]:
        """Rewards (N,) of the drawn sentences and their gradients (N, S, E) at D's embeddings."""

    def reference_log_probs(self) -> Tensor:
        """`log_probs` (N, S) by G as it was when adversarial training began. Only for estimators
        whose `plan` asks for that copy.
        """


@dataclass(frozen=True)
class StepPlan:
    """What an estimator asks of the steps of both players."""

    group: int = 1  # sentences that begin with the same prefix and face the same real sentence
    prefix: int = 0  # tokens of a real sentence that each begins with; D's generated ones too
    epochs: int = 1  # optimiser steps of G on the same sentences
    reference: bool = False  # keep a copy of G as it was when adversarial training began
    # Whose step draws the generated sentences: each step its own, or the first for both.
    drawn_by: Literal["each", "discriminator", "generator"] = "each"
    expected: bool = False  # D's loss on generated sentences is its mean over every next token
    # D is a language model q: its score of a token is log q - log p + v, with p that of G. A
    # penalty is on the logits of q and on v, because mixtures of tokens have no log p.
    log_ratio: bool = False
    sampling: Sampling | None = None  # of training, D's too; None: that of evaluation

    def training_spec(self, spec: SamplingSpec) -> SamplingSpec:
        """How training draws sentences that evaluation draws by `spec`."""
        return spec if self.sampling is None else replace(spec, sampling=self.sampling)

    def fault(self, train: TrainConfig, length: int, objective: frozenset[str]) -> str:
        """Why these settings cannot follow the plan, in words for people; empty if they can.
        `length` is that of the shortest sentences, `objective` what the objective offers.
        """
        if train.batch_size % self.group:
            return (f"train.batch_size = {train.batch_size} must be a multiple of "
                    f"estimator.group = {self.group}")  # fmt: skip
        if self.prefix >= length:
            return (f"estimator.prefix = {self.prefix} must be below {length}, the length of "
                    "sentences")  # fmt: skip
        if self.expected and "loss_per_score" not in objective:
            return ("estimator.expected = true needs an objective of cross-entropy: minimax, "
                    "non_saturating or reverse_kl")  # fmt: skip
        for key, value in {"micro_batch": train.micro_batch, "replay": train.replay}.items():
            if value and (self.drawn_by == "discriminator" or self.expected):
                return (f"train.{key} = {value}: estimator.shared and estimator.expected work on "
                        f"whole batches of new sentences; leave train.{key} out")  # fmt: skip
        return ""


class Estimator(Protocol):
    """D's scores to a loss whose gradient trains G.

    In two steps, so that a batch may be cut into micro-batches: `prepare` sees the whole batch
    without gradient (rewards, baselines), `loss` one part of it. An estimator that keeps something
    between updates (a moving baseline) is a module that keeps it in a buffer, which the checkpoint
    saves.

    `target` names the gradient that is the mean of the estimate: "sequence" (of the expected reward
    of sentences), "discounted", "reweighted", "grouped", "smoothed", "relaxed" (of what D sees
    instead of tokens). The laboratory (`variants/laboratory/`) knows each of them exactly and tests
    the estimator against it. An estimator may have a `plan`, a `StepPlan`.
    """

    target: ClassVar[str]
    discriminator_evaluates: ClassVar[bool]
    adds_entropy: ClassVar[bool]  # its loss includes the entropy bonus; else the step adds it

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """What `loss` needs of the whole batch: tensors without gradient, first axis N."""

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """A scalar, the mean over the context's sentences, whose gradient with respect to G is the
        estimate; `prepared` are the rows of these sentences.
        """


class Penalty(Protocol):
    """A term added to D's loss: a mean over sentences."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor | None:
        """The random numbers it needs for `count` sentences, first axis N; None for none."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """The weighted penalty, a scalar, of sentences after D's first layer."""


@dataclass(frozen=True)
class SamplingSpec:
    """How sentences are drawn: the sampling strategy, its temperature, the mask, the length."""

    sampling: Sampling
    temperature: float = 1.0  # tau of the sampling strategy
    mask_after_eos: bool = False  # D does not see what follows the end token
    length: int | None = None  # steps; None: as many as the generator has
    given: Tensor | None = None  # (N, P) tokens that the sentences begin with; None: none

    @property
    def has_likelihood(self) -> bool:
        """Whether each token is drawn from softmax(l); else the noise decides which it is."""
        return "likelihood" in self.sampling.offers

    def mask(self, tokens: Tensor) -> Tensor | None:
        """Which of the tokens (N, S) D sees, (N, S) bool; None for all."""
        return visible(tokens) if self.mask_after_eos else None


@dataclass(frozen=True)
class StepContext:
    """What the loss of a whole system may use of the run."""

    batch_size: int  # N
    spec: SamplingSpec
    next_batch: Callable[[], Tensor]  # the next real sentences (N, S), others at every call
    rng: Callable[[str], torch.Generator]  # a random stream of the run by its name
    metrics: dict[str, float]  # "train/...", logged
    train_size: int  # sentences of the training split
    step: int = 0  # updates since adversarial training began
    progress: float = 0.0  # of the run, 0 to 1, or as `train.progress` says


class Schedule(Protocol):
    """Which player is trained when, as data for the loop."""

    adversarial: bool  # whether a discriminator takes part at all

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The phases of one update."""


class System(Schedule, Protocol):
    """A whole text GAN that does not factor into the slots: its players, its phases, their losses.

    The run gives it what it gives every model: batches, budget, random streams, steps with clipping
    and detection of divergence, averaged weights, evaluation, record, checkpoints. Its generator is
    trained with `train.generator_lr`, the others with `train.discriminator_lr`. Its modules hold
    all that it keeps between updates.
    """

    generator: Generator  # that is trained, sampled and evaluated
    sampling: Sampling  # of the class: sentences are drawn from a run's generator alone
    others: Mapping[str, nn.Module]  # further players by name

    @staticmethod
    def temperature(progress: float) -> float:
        """Temperature of drawing, tau > 0, at this progress."""
