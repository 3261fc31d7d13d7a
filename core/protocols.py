"""What the parts of a text GAN owe each other.

A generator G turns noise into S distributions over V words; a *sampling* turns each
distribution into a word and says what the discriminator D sees of it; an *estimator* turns D's
scores into a gradient for G; an *objective* and a *penalty* make the losses; a *schedule* says
who moves when. Every part is a strategy in a slot (`SLOTS`), lives in one file under `variants/`,
and declares what it needs of the other slots and what it offers them (`Strategy`).

Capabilities that the strategies of the tree speak of:

- sampling: `differentiable_words` (a gradient passes from D to G through them), `hard_words`
  (D sees token ids drawn from softmax(l)), `likelihood` (words are drawn in proportion to it);
- estimator: `score_function` (weights the log-likelihood of drawn words), `gradient`;
- discriminator: `scores` of sentences, `step_scores` (N, S), `embedded_words`, `features`;
  `trimming` (what is hidden behind the end may be cut off, no score changes);
- generator: `capture` (a rollout draws nothing and looks at no value, so a CUDA graph can hold it);
- objective, estimator: `mean_over_sentences` (a batch may be cut into micro-batches).

Letters, everywhere: N batch, S sequence length, E embedding width, V vocabulary size, H heads,
M, B, O the generator's mapping, noise and output layers. Shapes stand behind each tensor:
`hidden (N, S, E)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.phases import Phase, Progress
from core.sentences import Noise, NoiseKind, Rows, Scores, Words

if TYPE_CHECKING:
    from core.turn import Turn

Seeds = tuple[int, ...]  # of noise that is drawn again; one an equal share of the sentences


class Strategy(Protocol):
    """What every strategy of every slot carries about itself.

    `needs` maps a slot to the capability that the strategy in that slot must offer; `offers` are
    the capabilities of this one. The check of a configuration reads nothing else.
    """

    Config: ClassVar[type[StrategyConfig]]
    offers: ClassVar[frozenset[str]]
    needs: ClassVar[Mapping[str, str]]
    paper: ClassVar[str]


@dataclass(frozen=True)
class Shape:
    """The sizes that several parts share."""

    length: int  # S
    vocabulary: int  # V
    noise: NoiseKind = "uniform"


class State(Protocol):
    """What a generator remembers between two words of a rollout (a key/value cache, h and c)."""


@runtime_checkable
class Generator(Protocol):
    """Noise to words. `step` and `parallel` are the same function, evaluated two ways."""

    length: int  # S
    embedding: nn.Embedding  # the table (V, E) behind `embed`
    head: nn.Linear  # E to V

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """Noise for `count` sentences; `scale` multiplies it (temperature of implicit models)."""
        ...

    def begin(self, noise: Noise, differentiable: bool) -> Any:
        """Start a rollout; `differentiable` asks for a state that carries gradients."""
        ...

    def step(self, state: Any, last: Tensor | None) -> Tensor:
        """One word on: embedding of the last word (N, E), None at first; hidden (N, E)."""
        ...

    def fork(self, state: Any, rows: Tensor) -> Any:
        """The state of the sentences `rows` (K,) of a rollout without gradient, which may repeat:
        each goes its own way from here, and `state` itself is left as it was.
        """
        ...

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """All S steps at once given the words drawn (N, S): hidden (N, S, E), with gradient."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """The vocabulary head: (..., E) to (..., V)."""
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (...) to input embeddings (..., E)."""
        ...


class NextInput(Protocol):
    """What asks for the next word."""

    streams: int  # 1: the last word itself asks; 2: a query beside the words asks

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor | None:
        """The noise it needs for `count` sentences, or None."""
        ...

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """Two streams: the query of every step (N, S, E). One: the first input (N, 1, E), or
        (N, S, E) what is added to every step's last word, the first step having none.
        """
        ...


class NoiseMapping(Protocol):
    """A latent to the memory that the noise blocks attend to."""

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor | None:
        """The latent of `count` sentences, or None when there is no mapping."""
        ...

    def __call__(self, latent: Tensor) -> Tensor:
        """Latent to memory (N, S, E)."""
        ...


class Sampling(Protocol):
    """How a word is selected, what D sees of it, and what the next step is fed."""

    soft_feedback: bool  # the next step is fed a mixture, with gradient, instead of a word

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """A seed a batch for all that selecting its words will draw; empty if nothing is."""
        ...

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """Logits (N, V) of one step to words (N,); may write over the logits."""
        ...

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Soft feedback only: from hidden (N, E) the mixture that is fed on, embedded (N, E)."""
        ...

    def words(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> Words:
        """What D sees of the whole sentences: tokens (N, S) and hidden (N, S, E)."""
        ...


class Temperature(Protocol):
    """The sampling temperature over a run; `progress` goes from 0 to 1."""

    def __call__(self, progress: float) -> float:
        """Temperature tau > 0 at this progress."""
        ...


class Discriminator(Protocol):
    """Words to scores: high means real."""

    offers: ClassVar[frozenset[str]]  # with "step_scores" its scores are of steps
    embedding: Tensor  # (V, E), the first layer, linear and without a bias

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded words (N, S, E) to scores: (N,), (N, R) of R representations, or (N, S) of
        steps, each of the words so far.
        """
        ...

    def __call__(self, words: Words) -> Tensor:
        """Scores of words: `score(words.embed(self.embedding), words.mask)`."""
        ...


class WordDiscriminator(Discriminator, Protocol):
    """A per-step discriminator that knows the score of every next word ("word_scores")."""

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Of the words before each step of embedded (N, S, E): q (N, S, E) and v (N, S), so that
        D_t with word w at step t is <q_t, embedding_w> + v_t.
        """
        ...


class Objective(Protocol):
    """The two losses of the game, of scores as D gives them; both are minimised."""

    relativistic: bool  # G's loss and reward look at real scores too
    compares: bool  # it reads D's features, not its scores

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """D's loss, a scalar."""
        ...

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """G's loss, a scalar; `real` is given to relativistic objectives only."""
        ...

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """What a score-function estimator maximises: one number a score, in the shape of `fake`.

        Minus G's loss of that score, unless the objective's docstring says otherwise.
        """
        ...


class Estimator(Protocol):
    """D's verdict to a loss whose gradient moves G.

    In two acts, so that a batch may be cut into micro-batches: `judge` looks at the whole batch
    without gradient (rewards, baselines, what they are compared with), `loss` at one part of it.
    An estimator that remembers something from update to update (a moving baseline) is a module
    that keeps it in a buffer, which goes into the checkpoint.

    `target` names the gradient that its mean is: "sequence" (of the expected reward of sentences),
    "discounted", "reweighted", "smoothed", "relaxed" (of what D sees in the place of words). The
    laboratory (`variants/laboratory/`) has each of them exactly and holds the estimator to it.
    """

    target: ClassVar[str]

    def judge(self, turn: Turn) -> tuple[Tensor, ...]:
        """What `loss` needs of the whole batch: tensors without gradient, first axis N."""
        ...

    def loss(self, turn: Turn, judged: Sequence[Tensor]) -> Tensor:
        """A scalar, the mean over the turn's sentences, whose gradient with respect to G is the
        estimate; `judged` are the rows of these sentences.
        """
        ...


class Penalty(Protocol):
    """A term added to D's loss: a mean over sentences."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor | None:
        """What it needs of chance for `count` sentences, first axis N; None for nothing."""
        ...

    def __call__(
        self, discriminator: Discriminator, real: Rows, fake: Rows, drawn: Tensor | None
    ) -> Tensor:
        """The weighted penalty, a scalar; words are given as D's first layer sees them."""
        ...


class Schedule(Protocol):
    """Who moves when, as data that the loop walks."""

    adversarial: bool  # whether a discriminator takes part at all

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The phases of one update."""
        ...


class System(Schedule, Protocol):
    """A whole text GAN that does not factor into the slots: its players, its phases, their losses.

    The run gives it what it gives everybody: batches, budget, streams of chance, steps with clip
    and detection of divergence, average, evaluation, record, checkpoints. Its generator moves at
    `train.generator_lr`, the others at `train.discriminator_lr`. All that it remembers from
    update to update is in its modules.
    """

    generator: Generator  # that is trained, drawn from and evaluated
    sampling: Sampling
    others: Mapping[str, nn.Module]  # further players by name

    def temperature(self, progress: float) -> float:
        """Temperature of drawing, tau > 0, at this progress."""
        ...
